"""Accuracy and energy per intelligence against the binomial and against draws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from epid.analysis.accuracy import Accuracy, accuracy_of, parse_accuracy, wilson
from epid.analysis.epi import NO_ACCURACY, NOTHING_RIGHT, epi_of
from epid.analysis.interval import Interval
from epid.errors import UsageError


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_the_interval_of_an_accuracy_is_wilsons(n, share):
    correct = round(share * n)
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    found = wilson(correct, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_epi_is_the_quotient_and_its_inverse():
    epi = epi_of(Interval.normal(2.4, 0.01), Accuracy(wilson(750, 1000), 750, 1000, "blimp"))
    assert epi.epi.value == pytest.approx(3.2)
    assert epi.per_joule.value == pytest.approx(1 / 3.2)
    assert epi.per_joule.low == pytest.approx(1 / epi.epi.high) and epi.per_joule.high == pytest.approx(1 / epi.epi.low)


def test_intervals_of_epi_hold_the_truth():
    rng, held = np.random.default_rng(4), []
    for _draw in range(3000):
        accuracy, n, sd = rng.uniform(0.3, 0.95), int(rng.integers(200, 4000)), rng.uniform(0.001, 0.02)
        correct = int(rng.binomial(n, accuracy))
        found = epi_of(Interval.normal(2.0 + sd * rng.standard_normal(), sd), Accuracy(wilson(correct, n), correct, n, "t"))
        held.append(found.epi.holds(2.0 / accuracy))
    assert 0.93 <= np.mean(held) <= 0.97


def test_without_accuracy_or_with_none_right_there_is_a_sentence_and_no_figure():
    assert epi_of(Interval.normal(2, 0.1), None).epi.reason == NO_ACCURACY
    zero = epi_of(Interval.normal(2, 0.1), Accuracy(wilson(0, 100), 0, 100, "t"))
    assert zero.epi.reason == NOTHING_RIGHT and math.isnan(zero.per_joule.value)
    assert epi_of(Interval.missing("no meter"), Accuracy(wilson(5, 10), 5, 10, "t")).epi.reason == "no meter"
    assert zero.to_map()["epi"] == {"value": None, "low": None, "high": None, "reason": NOTHING_RIGHT}


def test_an_accuracy_that_almost_reaches_zero_has_an_open_end():
    found = epi_of(Interval.normal(2, 0.1), Accuracy(Interval(0.5, 0.0, 0.9), 1, 2, "t"))
    assert found.epi.high == math.inf and found.per_joule.low == 0.0


@pytest.mark.parametrize(
    ("model", "remark"),
    [
        ({}, ""),
        ({"eval": {"accuracy": {"correct": 7, "n": 10}}, "eval_matches": False}, "made with another file"),
        ({"eval": {"accuracy": None}}, "holds no accuracy"),
        ({"eval": {"accuracy": {"correct": 11, "n": 10}}}, "is damaged"),
        ({"eval": {"accuracy": {"correct": 1, "n": 0}}}, "is damaged"),
    ],
)
def test_an_evaluation_that_cannot_be_used_says_why(model, remark):
    found, said = accuracy_of(model)
    assert found is None and (remark in said if remark else said == "")


def test_the_evaluation_beside_the_model_is_taken():
    found, said = accuracy_of({"eval": {"accuracy": {"task": "blimp", "correct": 732, "n": 1000}}, "eval_matches": True})
    assert found is not None and said == "" and found.rate.value == 0.732 and found.source == "blimp"


def test_an_accuracy_from_elsewhere_needs_its_number_of_questions():
    assert parse_accuracy("0.75:400").correct == 300
    for text in ("0.75", "75:400", "0.75:0", "a:b", ""):
        with pytest.raises(UsageError, match="VALUE:N"):
            parse_accuracy(text)
