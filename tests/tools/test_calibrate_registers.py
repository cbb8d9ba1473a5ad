"""Register arithmetic: the application note's worked examples, and error → register → residual below half a step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.calibrate.averages import Averages, Mean
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.reference import Reference
from epi_tools.calibrate.registers import (
    Registers,
    from_complement,
    from_signed,
    gain_factor,
    measurement_gain,
    metering_gain,
    phase_delay,
    phase_step_deg,
    power_offset,
    rms_offset,
)
from epi_tools.calibrate.solve import Load, Scales, errors_of, with_gain
from epi_tools.chip import analog

RESET = Registers(0, 0, 0x6720, 0x7A13, 0, 0, 0, 0, 0x08BD)
words = st.integers(0, 0xFFFF)


# --- application note Atmel-46102B, chapter 3.2 --------------------------------------------------------------------------


def test_metering_gain_of_the_note():
    assert metering_gain(-0.1378) == 0x1475


def test_phase_of_the_note():
    """Error +0.95 % at PF 0.5, inductive, 50 Hz: 3763.74 * error = 35.76."""
    found = errors_of(None, load(error=0.0095, pf=0.5))
    assert phase_delay(found.lag_deg, 50.0) == 0x24


@given(error=st.floats(-0.02, 0.02))
def test_phase_agrees_with_the_note_s_line_where_that_is_good(error):
    """The note's formula is the tangent of ours at nothing."""
    found = errors_of(None, load(error=error, pf=0.5))
    assert -found.lag_deg / phase_step_deg(50.0) == pytest.approx(3763.74 * error, abs=0.2 + abs(3763.74 * error) * 0.02)


def test_measurement_gains_and_offsets_of_the_note():
    """Ugain 5C3BH and IgainL 5AA7H (23206.6 rounded), Poffset 0035H for a mean of FFCBH."""
    assert measurement_gain(1.0, 0x6720 / 0x5C3B, 0x6720) == 0x5C3B
    assert measurement_gain(23206.6, 0x7A13, 0x7A13) == 0x5AA7
    assert power_offset(from_complement(0xFFCB)) == 0x0035


def test_a_unit_of_power_offset_is_the_note_s():
    """Reset gains make it 1.967 mW, as 9e6 / (PL * MC) does."""
    assert RESET.raw_power == pytest.approx(9e6 / (1_429_876 * 3200), rel=1e-4)


# --- round trips ---------------------------------------------------------------------------------------------------------


@given(error=st.floats(-0.28, 0.45), old=st.integers(-0x800, 0x800).map(lambda value: value & 0xFFFF))
def test_metering_gain_leaves_less_than_half_a_step(error, old):
    new = metering_gain(error, old)
    residual = (1 + error) * gain_factor(new) / gain_factor(old) - 1
    assert abs(residual) <= 0.5 / 2**15 * (1 + error) / gain_factor(old) * (1 + 1e-9)
    assert gain_factor(new) == analog.gain_factor(new)


@given(lag_deg=st.floats(-8, 8), hz=st.sampled_from([50.0, 60.0]), old=st.integers(-50, 50))
def test_phase_leaves_less_than_half_a_step(lag_deg, hz, old):
    old_word = 0x8000 | -old if old < 0 else old
    new = phase_delay(lag_deg, hz, old_word)
    residual_deg = lag_deg + analog.phase_deg(new, hz) - analog.phase_deg(old_word, hz)
    assert abs(residual_deg) <= phase_step_deg(hz) / 2 * (1 + 1e-9)


@given(old=st.integers(0x0800, 0x7000), ratio=st.floats(0.9, 1.1))
def test_measurement_gain_leaves_less_than_half_a_step(old, ratio):
    new = measurement_gain(1.0, ratio, old)
    assert abs(ratio * new / old - 1) <= 0.5 * ratio / old * (1 + 1e-9)


@given(mean=st.floats(-1000, 1000), old=st.integers(-20_000, 20_000))
def test_power_offset_leaves_less_than_half_a_unit(mean, old):
    new = power_offset(mean, old & 0xFFFF)
    assert abs(mean + from_complement(new) - old) <= 0.5


@given(mean=st.floats(0, 20), gain=st.integers(0x0800, 0x7FFF))
def test_rms_offset_leaves_less_than_half_a_step(mean, gain):
    """The note's recipe, read backwards: an offset adds offset * 2^8 / gain."""
    assert abs(mean + from_complement(rms_offset(mean, gain)) * 256 / gain) <= 128 / gain * (1 + 1e-9)


@given(gain=st.floats(0.8, 1.2), lag_deg=st.floats(-6, 6), pf=st.floats(0.35, 0.8), capacitive=st.booleans())
def test_two_loads_tell_gain_and_lag_exactly(gain, lag_deg, pf, capacitive):
    found = errors_of(at(gain, lag_deg, 1.0, False), at(gain, lag_deg, pf, capacitive))
    assert found.gain == pytest.approx(gain - 1, abs=1e-9)
    assert found.lag_deg == pytest.approx(lag_deg, abs=1e-7)


@given(lag_deg=st.floats(-6, 6), pf=st.floats(0.35, 0.8), capacitive=st.booleans())
def test_a_lagging_load_alone_tells_the_lag(lag_deg, pf, capacitive):
    assert errors_of(None, at(1.0, lag_deg, pf, capacitive)).lag_deg == pytest.approx(lag_deg, abs=1e-6)


@given(gain=st.floats(0.85, 1.15), lag_deg=st.floats(-5, 5), voltage=st.floats(0.95, 1.05))
def test_the_mean_power_is_right_after_its_gains(gain, lag_deg, voltage):
    """Pmean goes with Ugain * IgainL and with the lag that Lphi takes away."""
    unity, lagging = at(gain * voltage, lag_deg, 1.0, False, volts=230 * voltage), at(gain * voltage, lag_deg, 0.5, False)
    old = RESET.changed(u_gain=30_000, i_gain=20_000)
    new = with_gain(old, old, unity, errors_of(unity, lagging), Scales(1, 1, 0.01, 0.001, 0.36))
    power = gain * voltage * (new.u_gain / old.u_gain) * (new.i_gain / old.i_gain)
    assert power == pytest.approx(1, abs=0.5 / 16_000)
    assert voltage * new.u_gain / old.u_gain == pytest.approx(1, abs=0.5 / 28_000)


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        (lambda: metering_gain(-0.6), "Lgain would have to be 2.500"),
        (lambda: phase_delay(9.5, 50.0), "Lphi would have to delay by -9.5 degrees"),
        (lambda: measurement_gain(2.0, 1.0, 0x6000), "reaches from 1 to 32767"),
        (lambda: power_offset(40_000.0), "is the current circuit really open"),
    ],
)
def test_what_a_register_cannot_hold_is_a_sentence(compute, says):
    with pytest.raises(CalibrationError, match=says):
        compute()


@given(word=words)
def test_formats_are_the_chip_model_s(word):
    from epi_tools.chip import formats

    assert from_complement(word) == formats.from_complement(word)
    assert from_signed(word) == formats.from_signed(word, 10)


def at(gain, lag_deg, pf, capacitive, watts=10.0, volts=230.0):
    """A load as a channel with these errors sees it."""
    phi = math.acos(pf) * (-1 if capacitive else 1)
    seen_w = watts * gain * math.cos(phi + math.radians(lag_deg)) / math.cos(phi)
    return load(error=seen_w / watts - 1, pf=pf, q_var=watts * math.tan(phi), volts=volts, watts=watts)


def load(error, pf, q_var=1.0, volts=230.0, watts=10.0):
    exact = Mean(watts * (1 + error), 0.0)
    seen = Averages(60.0, 1200, exact, Mean(q_var, 0.0), Mean(volts, 0.0), Mean(0.04, 0.0), 50.0, exact)
    return Load(Reference(w=watts, v=230.0, pf=pf, within=0.0, maker_known=True), seen)
