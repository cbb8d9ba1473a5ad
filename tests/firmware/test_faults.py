"""Faults on the chip model: the books stay exact, or the gap is marked."""

from random import Random

import pytest
from faulty import Audit, flip_at, one_sweep, running
from model import J_PER_TICK, Model, flags_of, logs_of, samples_of

from epi_protocol import messages as m
from epi_tools.chip import CutLine
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant


@pytest.mark.parametrize("line", ["flip_mosi_once", "flip_miso_once"])
def test_every_single_flip_in_every_access_of_a_sweep(line):
    """24 clocks, each flipped in turn in every access of a sweep: 22 accesses, 528 flips."""
    model = running(1)
    faults = model.board.faults(0)
    port = model.board.ports[0]
    audit = Audit(model, 0)
    for access in range(22):
        for clock in range(24):
            model.run(0.1)
            audit.check()
            flip_at(port, faults, line, access, clock)
            one_sweep(model)
            audit.check()
    assert faults.happened >= 22 * 24 - 48
    assert audit.unmarked == 0
    assert flags_of(model.samples(1)[-1][1][0]) == set()


@pytest.mark.parametrize("address", [reg.CAL_START, reg.AP_ENERGY, reg.AN_ENERGY, reg.LAST_DATA])
def test_partial_accesses_of_the_energy_protocol_lose_nothing(address):
    model = running()
    faults = model.board.faults(2)
    audit = Audit(model, 2)
    for clocks in range(8, 24):
        faults.cut_once(address, clocks)
        model.run(0.2)
        audit.check()
    block = model.block(2)
    assert faults.happened == 16
    assert audit.unmarked == 0 and block["unknown"] == 0
    assert block["forward"] == model.cleared[2][reg.AP_ENERGY]


@pytest.mark.parametrize("seed", range(3))
def test_a_noisy_line_never_bends_the_books_unmarked(seed):
    """One bit in ten thousand flips on either line: more than one access in a hundred of every sweep is hit."""
    model = running(2)
    for channel in range(2):
        model.board.faults(channel, 1e-4, Random(seed).randrange(1 << 30) + channel)
    audits = [Audit(model, channel) for channel in range(2)]
    for _ in range(800):
        one_sweep(model)
        for audit in audits:
            audit.check()
    assert [audit.unmarked for audit in audits] == [0, 0]
    assert all(model.block(channel)["forward"] > 300 for channel in range(2))


def test_a_brown_out_is_one_marked_gap():
    model = running()
    before = model.samples(1)[-1][1][1]
    model.chips[1].brown_out()
    samples = model.samples(4)
    marked = [number for number, (_head, channels) in enumerate(samples) if "REINIT" in flags_of(channels[1])]
    assert len(marked) == 1 and marked[0] <= 5
    after = samples[-1][1][1]
    assert after["unknown"] == before["unknown"] + 1
    seconds = (samples[-1][0]["board_us"] - samples[marked[0]][0]["board_us"]) * 1e-6
    joules = (after["forward"] - samples[marked[0]][1][1]["forward"]) * J_PER_TICK
    assert joules == pytest.approx(5.0 * seconds, abs=2 * J_PER_TICK)


def test_neighbours_of_a_brown_out_lose_nothing():
    model = running()
    model.chips[1].brown_out()
    samples = model.samples(3)
    for channel in (0, 2, 3):
        assert samples[-1][1][channel]["unknown"] == 0
        assert samples[-1][1][channel]["forward"] == model.cleared[channel][reg.AP_ENERGY]
        assert not any(flags_of(channels[channel]) - {"SETTLING"} for _head, channels in samples)


@pytest.mark.parametrize("address", [reg.L_GAIN, reg.PL_CONST_L, reg.M_MODE, reg.P_START_TH])
def test_corrupted_metering_registers_are_found_and_marked(address):
    model = running()
    model.chips[3].corrupt(address, 0x1234)
    samples = model.samples(2)
    flags = [flags_of(channels[3]) for _head, channels in samples]
    assert any("CALIBRATION_ERROR" in each for each in flags[:6])
    assert sum("REINIT" in each for each in flags) == 1
    assert samples[-1][1][3]["unknown"] == 1
    assert flags[-1] == set()


@pytest.mark.parametrize("address", [reg.U_GAIN, reg.I_GAIN_L, reg.P_OFFSET_L])
def test_corrupted_measurement_registers_cost_no_energy(address):
    model = running()
    model.chips[3].corrupt(address, 0x1234)
    samples = model.samples(3)
    flags = [flags_of(channels[3]) for _head, channels in samples]
    assert any("CALIBRATION_ERROR" in each for each in flags[:6])
    assert not any("REINIT" in each for each in flags)
    assert samples[-1][1][3]["unknown"] == 0
    assert samples[-1][1][3]["forward"] == model.cleared[3][reg.AP_ENERGY]
    assert flags[-1] == set()


def test_a_dead_chip_is_said_and_comes_back():
    model = running()
    model.chips[0].power_off()
    payloads = model.run(2)
    assert any("pi1: the chip does not answer any more" in text for text in logs_of(payloads))
    samples = samples_of(payloads)
    assert "ABSENT" in flags_of(samples[-1][1][0])
    assert len(samples) in (40, 41) and not flags_of(samples[-1][1][1])
    model.chips[0].power_on()
    samples = model.samples(2)
    assert sum("REINIT" in flags_of(channels[0]) for _head, channels in samples) == 1
    assert samples[-1][1][0]["unknown"] == 1 and flags_of(samples[-1][1][0]) == set()


def test_a_reset_of_the_board_alone_loses_no_energy():
    model = running()
    model.run(3)
    before = model.block(2)["forward"]
    model.board.clock.sleep_ms(4000)
    model.boot(b"NEXT")
    samples = model.samples(3)
    after = samples[-1][1][2]
    assert samples[-1][0]["boot_id"] == b"NEXT"
    assert before + after["forward"] == model.cleared[2][reg.AP_ENERGY]
    assert after["unknown"] == 0 and not any("REINIT" in flags_of(channels[2]) for _head, channels in samples)


def test_a_board_with_new_settings_sets_the_chips_up_again():
    model = running()
    model.boot(b"NEXT", channels=[{"start_mw": 300}] * 4)
    samples = model.samples(3)
    assert flags_of(samples[-1][1][0]) == set()
    assert samples[-1][1][0]["forward"] > 0


def test_a_chip_corrupted_while_the_board_was_away_is_a_marked_gap():
    model = running()
    model.run(2)
    model.chips[1].corrupt(reg.L_GAIN, 0x1234)
    model.board.clock.sleep_ms(2000)
    model.boot(b"NEXT")
    samples = model.samples(3)
    assert [samples[-1][1][channel]["unknown"] for channel in range(4)] == [0, 1, 0, 0]
    assert sum("REINIT" in flags_of(channels[1]) for _head, channels in samples) == 1


def test_ten_seconds_without_a_reader_lose_nothing():
    model = running()
    model.run(1)
    model.line.open = False
    model.run(9.5)
    model.line.open = True
    numbers = [head["seq"] for head, _channels in model.samples(1)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) >= 190


def test_thirty_seconds_without_a_reader_are_a_counted_gap_and_no_lost_energy():
    model = running()
    before = model.samples(1)
    model.line.open = False
    model.run(30)
    model.line.open = True
    after = model.samples(1)
    gap = after[0][0]["seq"] - before[-1][0]["seq"] - 1
    assert gap == after[-1][0]["dropped"] > 380
    assert after[-1][1][0]["forward"] == model.cleared[0][reg.AP_ENERGY]


def test_a_chip_that_is_deaf_for_longer_than_a_wrap_is_in_doubt():
    model = Model([Constant(25.0)] * 4, sample_hz=2, channels=[{"mc_imp_per_kwh": 10_000_000}] * 4)
    model.run(4)
    model.board.ports[1].faults = CutLine()
    model.run(120)
    model.board.ports[1].faults = None
    block = samples_of(model.run(4))[-1][1]
    assert block[1]["unknown"] == 1 and "REINIT" not in flags_of(block[1])
    assert block[0]["unknown"] == 0


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.2, 3.0])
def test_a_line_that_reads_all_ones_delays_energy_and_loses_none(seconds):
    model = running()
    for _ in range(5):
        model.board.ports[1].faults = CutLine()
        faulty = model.samples(seconds)
        model.board.ports[1].faults = None
        after = model.samples(1.37)[-1][1]
        assert after[1]["unknown"] == 0 and flags_of(after[1]) <= {"SETTLING"}
        assert after[1]["forward"] == model.cleared[1][reg.AP_ENERGY]
        late = [flags_of(channels[1]) & {"ENERGY_LATE", "ABSENT"} for _head, channels in faulty]
        assert all(late[1:]) and not any(flags_of(channels[0]) for _head, channels in faulty)
    assert model.block(1)["forward"] * J_PER_TICK == pytest.approx(5.0 * model.board.clock.now_ns * 1e-9, rel=0.2)


def test_a_brown_out_of_board_and_chips_is_a_new_boot_and_new_books():
    model = running()
    model.run(2)
    for chip in model.chips:
        chip.brown_out()
    model.boot(b"NEXT")
    payloads = model.run(4)
    samples = samples_of(payloads)
    assert [head["seq"] for head, _channels in samples] == list(range(len(samples)))
    assert all(head["boot_id"] == b"NEXT" for head, _channels in samples), "the mark: no difference is taken across boots"
    assert sum("set up; the chip's checksums are" in text for text in logs_of(payloads)) == 4
    first, last = samples[0], samples[-1]
    for number, watts in enumerate((3.5, 5.0, 11.0, 8.0)):
        seconds = (last[0]["board_us"] - first[0]["board_us"]) * 1e-6
        joules = last[1][number]["forward"] * J_PER_TICK
        assert 0 < joules < watts * seconds and joules == pytest.approx(watts * (seconds - 0.18), abs=0.9)
        assert flags_of(last[1][number]) == set()


def test_a_chip_that_is_reset_while_the_board_starts_counts_no_energy_before_it_is_set_up():
    """The boot id marks the gap before: so no sample may say that the books stood at nothing meanwhile."""
    model = running()
    model.run(2)
    model.board.clock.sleep_ms(2500)
    model.boot(b"NEXT")
    model.chips[3].brown_out()
    samples = [channels for _head, channels in samples_of(model.run(2))]
    uncounted = [bool({"ABSENT", "ENERGY_LATE"} & flags_of(channels[3])) for channels in samples]
    ready = uncounted.index(False)
    assert 1 < ready < 6 and not any(uncounted[ready:])
    assert all(channels[3]["forward"] == 0 for channels in samples[:ready])
    assert samples[ready][3]["forward"] * J_PER_TICK < 8.0 * 0.1, "what was lost with the reset is in no sum"
    assert samples[ready][0]["forward"] * J_PER_TICK > 3.5 * 2.5 - 1, "a chip that ran on brings what it has"


def test_a_wrong_checksum_at_start_up_is_refused():
    model = Model()
    chip = model.chips[0]
    write = chip.write

    def corrupting(address, data):
        write(address, data ^ 1 if address == reg.L_GAIN else data)

    chip.write = corrupting
    payloads = model.run(3)
    assert any("pi1: the chip refuses its settings: CS1 reads" in text for text in logs_of(payloads))
    samples = samples_of(payloads)
    assert flags_of(samples[-1][1][0]) >= {"CALIBRATION_ERROR", "MEASURE_INVALID"}
    assert samples[-1][1][0]["forward"] == 0 and flags_of(samples[-1][1][1]) == set()
    chip.write = write
    assert flags_of(model.samples(3)[-1][1][0]) == set()


def test_the_prompt_can_be_asked_for_at_any_time():
    model = running()
    model.send(m.pack_repl())
    model.meter.run()
    assert model.meter.link.leave
