"""Averages against the closed form of what was averaged, and the checks that refuse what is no steady load."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_tools.calibrate.averages import averages, seconds_for
from epi_tools.calibrate.checks import check_steady, check_threshold
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import Reading

TICK_J, HZ = 0.36, 20


def readings(power_w, seconds=30.0, noise_w=0.01, seed=1, phase_j=0.0, jitter_s=0.002):
    """Sweeps of a load of `power_w(t)` whose energy register counts whole ticks."""
    rng, energy_j, before_s, found = Random(seed), phase_j, 0.0, []
    for k in range(int(seconds * HZ)):
        t_s = k / HZ + rng.uniform(0, jitter_s)
        energy_j += power_w(t_s) * (t_s - before_s)
        before_s = t_s
        p_w = power_w(t_s) + rng.gauss(0, noise_w)
        found.append(Reading(100 + t_s, p_w, 0.0, 230.0, p_w / 230, 50.0, math.floor(energy_j / TICK_J) * TICK_J, 0))
    return found


@settings(deadline=None, max_examples=60)
@given(power_w=st.floats(3, 30), phase_j=st.floats(0, 0.36), seed=st.integers(0, 1000))
def test_the_energy_s_slope_is_the_power_within_three_of_its_errors(power_w, phase_j, seed):
    seen = averages(readings(lambda _t: power_w, phase_j=phase_j, seed=seed), TICK_J)
    assert abs(seen.energy_w.value - power_w) <= 3 * seen.energy_w.sem
    assert abs(seen.p_w.value - power_w) <= 6 * max(seen.p_w.sem, 0.01 / math.sqrt(600))


@pytest.mark.parametrize("power_w", [7.2, 3.6, 14.4, 7.2 * 1.0005])
def test_powers_in_step_with_the_sweeps_are_within_their_errors_too(power_w):
    """A tick for each sweep: the counter then says nothing between its steps."""
    for phase_j in (0.0, 0.1, 0.35):
        seen = averages(readings(lambda _t: power_w, phase_j=phase_j, jitter_s=0.0), TICK_J)
        assert abs(seen.energy_w.value - power_w) <= 3 * seen.energy_w.sem


def test_longer_is_surer():
    short, long = (averages(readings(lambda _t: 10.0, seconds=s), TICK_J).energy_w.sem for s in (10, 100))
    assert long < short / 5
    assert seconds_for(10.0, TICK_J, 1e-3) == pytest.approx(58.8, abs=0.1)


def test_readings_that_failed_leave_no_trace():
    good = readings(lambda _t: 10.0)
    bad = [
        Reading(r.t_s, math.nan, math.nan, math.nan, math.nan, 0.0, math.nan, 2) if k % 3 == 1 else r for k, r in enumerate(good)
    ]
    seen = averages(bad, TICK_J)
    assert seen.p_w.value == pytest.approx(10, abs=0.01) and seen.line_hz == 50
    assert seen.energy_w.value == pytest.approx(10, rel=2e-3)


@pytest.mark.parametrize("seconds", [0.05, 1.5])
def test_too_little_is_a_sentence(seconds):
    with pytest.raises(CalibrationError, match="too few valid readings"):
        averages(readings(lambda _t: 10.0, seconds=seconds), TICK_J)


@settings(deadline=None, max_examples=40)
@given(power_w=st.floats(3, 30), noise_w=st.floats(0.001, 0.02), seed=st.integers(0, 1000))
def test_noise_alone_is_steady(power_w, noise_w, seed):
    check_steady(0, readings(lambda _t: power_w, noise_w=noise_w, seed=seed))


@settings(deadline=None, max_examples=40)
@given(at_s=st.floats(2, 25), factor=st.sampled_from([0.0, 0.5, 0.98, 1.02, 2.0]), seed=st.integers(0, 1000))
def test_a_step_is_seen_wherever_it_falls(at_s, factor, seed):
    stepped = readings(lambda t: 10.0 if t < at_s else 10.0 * factor, seed=seed)
    with pytest.raises(CalibrationError, match="changed while it was measured"):
        check_steady(0, stepped)


def test_a_threshold_inside_the_noise_is_refused():
    open_circuit = averages(readings(lambda _t: 0.06), TICK_J)
    check_threshold(0, open_circuit, 0.3)
    with pytest.raises(CalibrationError, match="raise it with --start-w; nothing was stored"):
        check_threshold(0, open_circuit, 0.2)
