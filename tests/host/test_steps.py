"""Errors of a counter of whole steps, against staircases whose phase is drawn at random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epid.analysis.metering.steps import correlation, line_variance, sum_variance

Q = 0.36


def readings(energy_j, rng, draws=4000):
    """Readings (draws, n) of the energies (n,) by counters of random phase, less the energies."""
    phase = rng.uniform(0, Q, (draws, 1))
    return np.floor((energy_j + phase) / Q) * Q - phase - energy_j


@given(turns=st.floats(-30, 30))
def test_the_correlation_of_two_readings_is_that_of_a_sawtooth(turns):
    part = turns % 1
    assert correlation(np.array([turns]), np.zeros(1))[0] == pytest.approx(1 - 6 * part * (1 - part), abs=0.02)


def test_readings_that_nobody_knows_how_many_steps_lie_between_are_independent():
    assert abs(correlation(np.array([12.0]), np.array([0.6]))[0]) < 1e-3


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), watts=st.floats(2, 12), n=st.integers(2, 3))
def test_the_variance_of_a_weighted_sum_is_what_random_phases_scatter_by(seed, watts, n):
    rng = np.random.default_rng(seed)
    energy_j, weights = np.cumsum(watts * rng.uniform(0.02, 0.08, n)), rng.normal(size=n)
    scattered = float((readings(energy_j, rng) @ weights).var())
    assert sum_variance(weights, energy_j, Q, 0.0) == pytest.approx(scattered, rel=0.15, abs=2e-3)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), watts=st.floats(2, 12))
def test_the_variance_of_a_slope_is_what_random_phases_scatter_by(seed, watts):
    t_s = np.arange(60) * 0.0503
    t_s -= t_s.mean()
    slopes = readings(watts * t_s + 100, np.random.default_rng(seed)) @ t_s / (t_s @ t_s)
    assert line_variance(t_s, watts, Q) == pytest.approx(float(slopes.var()), rel=0.3, abs=1e-6)
