"""How old readings of P are: means over evenly spread ages, and the ages found again from what they did to the readings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epid.analysis.layers.age import Age, age_of
from epid.analysis.layers.design import AGES_S, LayerDesign, Rows

N_ROWS, NOISE_J = 900, 0.02
WATTS = np.array([9.0, 5.0, 7.0, 0.0])


def rows_of(ages, response=None):
    n = ages.shape[1]
    return Rows(np.arange(n) * 0.05, np.zeros(n) if response is None else response, ages[2], np.ones(n, int), ages)


def white_noise(rows, _watts):
    return np.full((1, len(rows.response)), NOISE_J**2)


@given(centre_s=st.floats(-0.02, 0.02), width_s=st.floats(0, 0.06), level=st.floats(-5, 5), slope=st.floats(-50, 50))
def test_what_changes_evenly_with_age_is_taken_at_the_middle(centre_s, width_s, level, slope):
    ages = (level + slope * AGES_S)[:, None, None] * np.ones((1, 3, 4))
    assert Age(centre_s, width_s).of(rows_of(ages)).seconds == pytest.approx(level + slope * centre_s, abs=1e-9)


def test_rows_without_ages_stay_as_they_are():
    rows = Rows(np.zeros(1), np.zeros(1), np.ones((1, 4)), np.ones(1, int))
    assert Age(0.01, 0.04).of(rows) is rows
    assert list(Age().extremes()) == []


def found_in(seed):
    """(true centre and width, the age found) of readings whose windows begin and end among short turns of three loads."""
    rng = np.random.default_rng(seed)
    true = Age(rng.uniform(-0.01, 0.01), rng.uniform(0, 0.1))
    turns = np.cumsum(np.eye(3)[rng.integers(0, 3, 60_000)] * 0.001, axis=0)
    ends = 400 + np.arange(N_ROWS) * 50
    held = [turns[ends - round(1e3 * age_s)] - turns[ends - 160 - round(1e3 * age_s)] for age_s in AGES_S]
    ages = np.pad(np.stack(held), ((0, 0), (0, 0), (0, 1)))
    response = true.of(rows_of(ages)).seconds @ WATTS + NOISE_J * rng.standard_normal(N_ROWS)
    return true, age_of(LayerDesign(rows_of(ages), rows_of(ages, response), 0.005), WATTS, white_noise)


def test_ages_are_found_with_an_error_that_is_stated():
    both = [found_in(seed) for seed in range(40)]
    errors = np.array([[found.centre_s - true.centre_s, found.width_s - true.width_s] for true, found in both])
    stated = np.array([np.sqrt(np.diag(found.covariance)) for _true, found in both])
    assert np.sqrt(np.mean((errors / stated) ** 2, axis=0)) == pytest.approx([1, 1], abs=0.45)
    assert np.abs(errors[:, 0]).max() < 0.015


def test_extremes_make_up_the_uncertainty():
    _true, found = found_in(1)
    away = [(older.centre_s - younger.centre_s, older.width_s - younger.width_s) for older, younger in found.extremes()]
    assert sum(np.outer(each, each) / 4 for each in away) == pytest.approx(found.covariance, rel=1e-6)


def test_equal_watts_or_too_few_rows_tell_nothing():
    ages = np.random.default_rng(1).random((len(AGES_S), N_ROWS, 4))
    few = ages[:, :10]
    for rows, watts in ((rows_of(ages), np.array([5.0, 5.0, 5.0, 0.0])), (rows_of(few), WATTS), (None, WATTS)):
        assert age_of(LayerDesign(rows_of(ages), rows, 0.005), watts, white_noise).covariance is None
