"""The life of a chip as the host sees it: flags, log sentences, and nobody slowed down by a neighbour."""

from bench import ACCESS_US
from meterbench import MeterBench, flags_of

from epi_firmware import registers as reg
from epi_firmware.channel import ABSENT, RUNNING
from epi_protocol import messages as m


def logs(bench):
    return [m.parse_log(payload) for payload in bench.messages() if payload[0] == m.LOG]


def last(samples, channel=0):
    return samples[-1][1][channel]


def test_start_up_passes_through_its_states():
    bench = MeterBench({"settle_ms": 2000})
    seen = [flags_of(channels[0]) for _head, channels in bench.sweeps(50)]
    assert seen[0] >= {"ABSENT", "MEASURE_INVALID"}
    assert seen[1] >= {"SETTLING", "MEASURE_INVALID"}
    assert seen[8] == {"SETTLING"}
    assert seen[-1] == set()
    assert bench.meter.channels[0].state == RUNNING


def test_readings_arrive_as_the_chip_gave_them():
    bench = MeterBench().settled()
    channel = last(bench.sweeps(1))
    assert (channel["p"], channel["p_lsb"]) == (72, 0x3400)
    assert (channel["q"], channel["q_lsb"] & 0xF8FF) == (-32, 0x1000)
    assert (channel["s"], channel["s_lsb"]) == (120, 0x5600)
    assert (channel["u"], channel["u_lsb"]) == (23001, 0x7800)
    assert (channel["i"], channel["i_lsb"]) == (521, 0x9A00)
    assert (channel["pf"], channel["freq"], channel["en_status"]) == (600, 5000, 0x2801)


def test_lsb_is_always_the_very_next_access():
    bench = MeterBench().settled()
    heads = []

    def remember(chip, tx):
        heads.append(tx[0])

    bench.chips[0].script = remember
    bench.sweeps(3)
    for address in (reg.P_MEAN, reg.Q_MEAN, reg.S_MEAN, reg.U_RMS, reg.I_RMS):
        at = [i for i, head in enumerate(heads) if head == 0x80 | address]
        assert len(at) == 3 and all(heads[i + 1] == 0x80 | reg.LSB for i in at), hex(address)
    assert heads.count(0x80 | reg.LSB) == 15


def test_power_of_all_chips_is_read_first_and_stamped():
    bench = MeterBench().settled()
    _head, channels = bench.sweeps(1)[-1]
    stamps = [channel["dt_us"] for channel in channels]
    assert stamps == [i * 2 * (ACCESS_US + 8) for i in range(4)]


def test_a_reset_chip_is_set_up_again_and_marked():
    bench = MeterBench().settled()
    before = last(bench.sweeps(1))
    bench.chips[2].reset()
    samples = bench.sweeps(8)
    marked = [channels[2] for _head, channels in samples if "REINIT" in flags_of(channels[2])]
    assert len(marked) == 1
    assert last(samples, 2)["unknown"] == before["unknown"] + 1
    assert any("SETTLING" in flags_of(channels[2]) for _head, channels in samples)
    assert "MEASURE_INVALID" not in flags_of(last(samples, 2))
    assert all(flags_of(channels[0]) == set() for _head, channels in samples)
    assert bench.chips[2].stored == bench.chips[0].stored


def test_a_reset_chip_is_named_in_the_log():
    bench = MeterBench().settled()
    bench.messages()
    bench.chips[0].reset()
    heard = []
    for _ in range(6):
        bench.sweep()
        bench.meter.turn()
        heard += logs(bench)
    assert (1, "pi1: the chip was reset behind our back (CalStart 6886H); it is set up again") in heard


def test_a_chip_that_goes_away_and_comes_back_running_loses_nothing():
    bench = MeterBench().settled()
    bench.chips[1].powered = False
    samples = bench.sweeps(10)
    assert flags_of(last(samples, 1)) >= {"ABSENT", "MEASURE_INVALID"}
    assert last(samples, 1)["p"] == last(samples, 1)["u"] == 0
    assert bench.meter.channels[1].state == ABSENT
    bench.chips[1].count(12)
    bench.chips[1].powered = True
    samples = bench.sweeps(3)
    assert last(samples, 1)["forward"] == 12 and last(samples, 1)["unknown"] == 0
    assert "REINIT" not in flags_of(last(samples, 1))


def test_a_chip_that_lost_its_supply_comes_back_marked():
    bench = MeterBench().settled()
    bench.chips[1].powered = False
    bench.sweeps(10)
    bench.chips[1].reset()
    bench.chips[1].powered = True
    samples = bench.sweeps(10)
    assert [("REINIT" in flags_of(channels[1])) for _head, channels in samples].count(True) == 1
    assert last(samples, 1)["unknown"] == 1


def test_a_board_that_was_reset_takes_running_chips_over():
    first = MeterBench().settled()
    second = MeterBench()
    for old, new in zip(first.chips, second.chips):
        new.words, new.stored = old.words, old.stored
        new.count(9)
    samples = second.sweeps(3)
    assert last(samples)["forward"] == 9 and last(samples)["unknown"] == 0
    assert "REINIT" not in flags_of(last(samples))


def test_absent_chips_do_not_slow_the_others():
    bench = MeterBench().settled()
    full = sum([chip.accesses for chip in bench.chips])
    bench.sweeps(3)
    full = sum([chip.accesses for chip in bench.chips]) - full
    for chip in bench.chips[1:]:
        chip.powered = False
    bench.sweeps(10)
    before = [chip.accesses for chip in bench.chips]
    samples = bench.sweeps(3)
    spent = [chip.accesses - old for chip, old in zip(bench.chips, before)]
    assert spent[0] == full // 4 and max(spent[1:]) <= 3 * 2
    assert flags_of(last(samples)) == set()


def test_no_chip_at_all_is_said_once():
    bench = MeterBench(live=False)
    for chip in bench.chips:
        chip.powered = False
    heard = []
    for _ in range(40):
        bench.sweep()
        bench.meter.turn()
        heard += logs(bench)
    assert len(heard) == 4
    assert heard[0] == (2, "pi1: no chip answers; check supply, chip select and the strap USEL (must be low)")


def test_a_wrong_checksum_keeps_the_chip_off_and_is_said_once():
    bench = MeterBench()
    bench.chips[0].script = lambda chip, tx: ("mosi", 1) if tx[0] == reg.L_GAIN else None
    heard, samples = [], []
    for _ in range(60):
        bench.sweep()
        bench.meter.turn()
        for payload in bench.messages():
            if payload[0] == m.LOG:
                heard.append(m.parse_log(payload))
            elif payload[0] == m.SAMPLE:
                samples.append(m.parse_sample(payload))
    refused = [text for level, text in heard if "pi1: the chip refuses its settings: CS1 reads" in text]
    assert len(refused) == 1
    assert flags_of(last(samples)) >= {"CALIBRATION_ERROR", "MEASURE_INVALID"}
    assert bench.chips[0].words[reg.CAL_START] != reg.CODE_CHECK
    bench.chips[0].script = None
    samples = bench.sweeps(30)
    assert "CALIBRATION_ERROR" not in flags_of(last(samples))


def test_corrupted_metering_registers_cost_a_marked_restart():
    bench = MeterBench().settled()
    bench.chips[0].words[reg.L_PHI] ^= 1
    samples = bench.sweeps(10)
    flags = [flags_of(channels[0]) for _head, channels in samples]
    assert any("CALIBRATION_ERROR" in each for each in flags)
    assert [("REINIT" in each) for each in flags].count(True) == 1
    assert last(samples)["unknown"] == 1


def test_corrupted_measurement_registers_cost_no_energy():
    bench = MeterBench().settled()
    bench.chips[0].words[reg.I_GAIN_L] ^= 0x10
    bench.chips[0].count(3)
    samples = bench.sweeps(6)
    flags = [flags_of(channels[0]) for _head, channels in samples]
    assert [("CALIBRATION_ERROR" in each) for each in flags].count(True) == 1
    assert not any("REINIT" in each for each in flags)
    assert last(samples)["forward"] == 3 and last(samples)["unknown"] == 0
    assert bench.chips[0].words[reg.I_GAIN_L] == bench.chips[1].words[reg.I_GAIN_L]


def test_frozen_registers_are_called_stale():
    bench = MeterBench().settled()
    bench.live = False
    assert flags_of(last(bench.sweeps(38))) == set()
    assert flags_of(last(bench.sweeps(12))) == {"STALE"}
    for step in range(3):
        for chip in bench.chips:
            chip.low[reg.P_MEAN] = step << 8
        samples = bench.sweeps(1)
    assert flags_of(last(samples)) == set()


def test_readings_that_cannot_be_true_are_invalid():
    for address, value in (
        (reg.S_MEAN, 0x8078),
        (reg.FREQ, 9999),
        (reg.POWER_F, 1001),
        (reg.POWER_F, 0xFFFF),
        (reg.EN_STATUS, 0xFFFF),
        (reg.P_MEAN, 72 | 0x1000),
        (reg.S_MEAN, 120 | 0x0800),
        (reg.I_RMS, 521 | 0x4000),
        (reg.U_RMS, 23001 ^ 0x4000 ^ 0x1000),
    ):
        bench = MeterBench({"channels": [{}]}).settled()
        bench.live = False
        bench.chips[0].words[address] = value
        flags = flags_of(last(bench.sweeps(1)))
        assert "MEASURE_INVALID" in flags, (hex(address), value)


def test_low_bits_that_cannot_be_are_invalid():
    bench = MeterBench({"channels": [{}]}).settled()
    bench.live = False
    bench.chips[0].low[reg.P_MEAN] = 0x3401
    assert "MEASURE_INVALID" in flags_of(last(bench.sweeps(1)))


def test_a_dead_mains_is_no_invalid_reading():
    bench = MeterBench({"channels": [{}]}).settled()
    bench.live = False
    for address in (reg.P_MEAN, reg.Q_MEAN, reg.S_MEAN, reg.U_RMS, reg.I_RMS, reg.FREQ, reg.POWER_F):
        bench.chips[0].words[address] = bench.chips[0].low[address] = 0
    bench.chips[0].words[reg.EN_STATUS] = 0xC801
    assert flags_of(last(bench.sweeps(1))) == {"NO_LOAD"}


def test_minus_a_little_is_a_valid_power():
    bench = MeterBench({"channels": [{}]}).settled()
    bench.live = False
    for address in (reg.Q_MEAN, reg.S_MEAN, reg.I_RMS):
        bench.chips[0].words[address] = 0
    bench.chips[0].words[reg.P_MEAN], bench.chips[0].low[reg.P_MEAN] = 0xFFFF, 0xFF00
    bench.chips[0].words[reg.EN_STATUS] = 0xC801
    assert flags_of(last(bench.sweeps(1))) == {"NO_LOAD"}


def test_a_reversed_ct_is_flagged():
    bench = MeterBench({"channels": [{}]}).settled()
    bench.live = False
    chip = bench.chips[0]
    chip.words[reg.P_MEAN], chip.words[reg.POWER_F], chip.words[reg.EN_STATUS] = 0xFFB8, 0x8258, 0x3801
    chip.count(0, 2)
    channel = last(bench.sweeps(1))
    assert flags_of(channel) == {"REVERSED"} and channel["reverse"] == 2 and channel["unknown"] == 0
