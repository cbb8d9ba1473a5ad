"""The real firmware on the register-exact chip model: energy to one tick, and readings in their class."""

from dataclasses import replace

import pytest
from model import IDEAL, J_PER_TICK, LIVING, Model, flags_of, logs_of, samples_of

from epi_protocol import messages as m
from epi_tools.chip import PI_SENSORS, Load, Mains
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant, Sine, Steps

FAST = {"mc_imp_per_kwh": 10_000_000}


def energy_j(samples, channel, since=0):
    first, last = samples[since][1][channel], samples[-1][1][channel]
    return (last["forward"] - first["forward"]) * J_PER_TICK


def span_s(samples, since=0):
    return (samples[-1][0]["board_us"] - samples[since][0]["board_us"]) * 1e-6


def true_j(source, samples, since):
    """Energy of `source` over the samples; the board's clock and the plant's both began at 0."""
    start_ns = samples[since][0]["board_us"] * 1000
    total, at_ns = 0.0, start_ns
    for end_ns, watts in source.pieces(start_ns, samples[-1][0]["board_us"] * 1000):
        total += watts * (end_ns - at_ns) * 1e-9
        at_ns = end_ns
    return total


def test_energy_is_exact_to_one_tick():
    sources = [Constant(3.5), Steps([(3.5, 1.7), (11.0, 0.9)], 0), Sine(7.0, 2.0, 3.0, 0), Constant(0.9)]
    model = Model(sources, IDEAL)
    samples = model.samples(120)
    since = 30
    for channel, source in enumerate(sources):
        # The registers are read up to 8 ms after the stamp, at up to 11 W: 0.09 J.
        error_j = energy_j(samples, channel, since) - true_j(source, samples, since)
        assert abs(error_j) <= J_PER_TICK + 0.09, channel
        assert samples[-1][1][channel]["unknown"] == 0


def test_an_empty_channel_counts_nothing_and_says_so():
    model = Model([Constant(0.0), Constant(0.1), Constant(0.3), Constant(5.0)], IDEAL)
    _head, channels = model.samples(30)[-1]
    assert [channel["forward"] > 0 for channel in channels] == [False, False, True, True]
    assert ["NO_LOAD" in flags_of(channel) for channel in channels] == [True, True, False, False]


def test_readings_are_in_physical_units_by_hello():
    model = Model()
    payloads = model.run(6)
    described = next(m.parse_hello(payload)[1] for payload in payloads if payload[0] == m.HELLO)
    _head, channels = samples_of(payloads)[-1]
    power_factor = LIVING.load.power_factor
    for channel, scales, watts in zip(channels, described["channels"], (3.5, 5.0, 11.0, 8.0), strict=True):
        assert m.extended(channel["p"], channel["p_lsb"]) * scales["p_w"] == pytest.approx(watts, abs=0.03)
        assert m.extended(channel["s"], channel["s_lsb"]) * scales["s_va"] == pytest.approx(watts / power_factor, rel=0.01)
        assert m.extended(channel["u"], channel["u_lsb"]) * scales["u_v"] == pytest.approx(230, abs=0.2)
        amperes = m.extended(channel["i"], channel["i_lsb"]) * scales["i_a"]
        assert amperes == pytest.approx(watts / power_factor / 230, rel=0.01)
        assert m.sign_magnitude(channel["pf"]) / 1000 == pytest.approx(power_factor, abs=0.005)
        assert channel["freq"] == 5000
        assert flags_of(channel) == set()


def test_a_reversed_ct_shows_in_reverse_energy_and_flag():
    circuit = replace(LIVING, sensors=replace(PI_SENSORS, reversed_ct=True))
    samples = Model(circuit=circuit).samples(20)
    _head, channels = samples[-1]
    for channel in channels:
        assert flags_of(channel) == {"REVERSED"}
        assert channel["forward"] == 0 and channel["reverse"] > 100 and channel["unknown"] == 0
        assert channel["p"] < 0 and m.sign_magnitude(channel["pf"]) < 0


def test_both_chains_agree():
    model = Model(circuit=replace(IDEAL, load=Load(-15.0, 0.6)))
    samples = model.samples(60)
    for channel in range(4):
        powers = [m.extended(each[1][channel]["p"], each[1][channel]["p_lsb"]) / 16 for each in samples[30:]]
        mean_w = sum(powers) / len(powers)
        assert energy_j(samples, channel, 30) / span_s(samples, 30) == pytest.approx(mean_w, rel=5e-3)


def test_energy_survives_the_wrap_of_the_ticks():
    model = Model(circuit=IDEAL, start_ns=((1 << 30) - 10_000_000) * 1000)
    samples = model.samples(40)
    stamps = [head["board_us"] for head, _channels in samples]
    assert stamps == sorted(stamps) and stamps[-1] > 39_000_000
    assert energy_j(samples, 2, 20) == pytest.approx(11.0 * span_s(samples, 20), abs=2 * J_PER_TICK)


def test_a_fast_metering_constant_loses_nothing_when_the_board_is_deaf():
    """At 1e7 imp/kWh a register wraps after 157 s at 15 W; the chips count on while the board does not run."""
    channels = [{"mc_imp_per_kwh": 10_000_000}] * 4
    model = Model([Constant(14.0)] * 4, IDEAL, channels=channels)
    before = model.samples(5)
    model.board.clock.sleep_ms(70_000)
    after = model.samples(5)
    ticks = after[-1][1][0]["forward"] - before[-1][1][0]["forward"]
    seconds = (after[-1][0]["board_us"] - before[-1][0]["board_us"]) * 1e-6
    assert ticks * 0.036 == pytest.approx(14.0 * seconds, abs=0.1)
    assert after[-1][1][0]["unknown"] == 0


def test_mains_off_is_no_load_and_no_invalid_reading():
    model = Model()
    model.run(3)
    for chip in model.chips:
        chip.change(mains=Mains(volts=0.0, hz=50.0))
    _head, channels = model.samples(3)[-1]
    assert all("NO_LOAD" in flags_of(channel) and "MEASURE_INVALID" not in flags_of(channel) for channel in channels)


def test_set_up_is_logged_once_per_chip():
    model = Model()
    texts = logs_of(model.run(3))
    assert len(texts) == 4 and all("as computed" in text for text in texts)


def test_a_wrong_strap_is_named_in_one_sentence():
    model = Model(straps=[0b01, 0b10, 0b00, 0b11])
    texts = [text for text in logs_of(model.run(3)) if "straps" in text]
    assert len(texts) == 3 and texts[0] == (
        "pi2: the chip's straps MMD1:MMD0 are 10 (L and N added) and must be 01 (L alone): set them and cut its supply"
    )
    assert texts[1].startswith("pi3: ") and "are 00 (anti-tamper)" in texts[1]
    assert texts[2].startswith("pi4: ") and "are 11 (L or N by register)" in texts[2]
    assert not any("straps" in text for text in logs_of(model.run(3)))


def test_a_wrong_strap_is_named_again_to_a_board_that_takes_the_chip_over():
    model = Model(straps=[0b01, 0b10, 0b01, 0b01])
    model.run(2)
    model.boot(b"NEXT")
    assert any("pi2: the chip's straps" in text for text in logs_of(model.run(2)))


def test_a_steady_load_on_an_ideal_chip_is_not_called_stale():
    model = Model([Constant(5.0), Constant(0.0), Constant(0.1), Constant(25.0)], IDEAL, channels=[{}] * 3 + [FAST])
    samples = model.samples(15)
    assert all("STALE" not in flags_of(channel) for _head, channels in samples for channel in channels)


@pytest.mark.parametrize("code", [0x6886, 0x5678, 0x1234])
def test_a_measurement_chain_that_was_stopped_is_called_stale(code):
    model = Model(circuit=IDEAL, stale_ms=500)
    model.run(3)
    chip = model.chips[0]
    chip._measuring.due_ns = 1 << 62  # nothing new from now on
    chip.corrupt(reg.ADJ_START, code)
    channels = model.samples(1.2)[-1][1]
    assert "STALE" in flags_of(channels[0]) and not flags_of(channels[1])


def test_frozen_readings_are_called_stale_when_energy_denies_them():
    model = Model([Steps([(11.0, 6.0), (4.0, 60.0)], 0)] * 4, IDEAL)
    model.run(5)
    model.chips[0]._measuring.due_ns = 1 << 62
    assert not any("STALE" in flags_of(channels[0]) for _head, channels in model.samples(1))
    channels = model.samples(5)[-1][1]
    assert "STALE" in flags_of(channels[0]) and channels[0]["p"] == 176
    assert not flags_of(channels[1]) and channels[1]["p"] == 64
