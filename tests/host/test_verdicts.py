"""Claims about two arms against references and against truths that were drawn: how often they are false, how often made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from epid.analysis.study.contrast import Contrast, Spread, contrast, holm, spread
from epid.analysis.study.expectation import expectation
from epid.analysis.study.outcome import compensation, outcome
from epid.analysis.study.verdict import Margins

SHARE = 0.10


def arms(rng, saving, cv=0.004, runs=6):
    """A baseline and a cut arm whose true saving is given; other arms of the study lend their degrees of freedom."""
    before = np.exp(cv * rng.standard_normal(runs))
    after = (1 - saving) * np.exp(cv * rng.standard_normal(runs))
    return contrast(list(after), list(before), spread([list(before), list(after)]))


def test_ratio_and_p_are_those_of_the_t_test_on_logarithms():
    rng = np.random.default_rng(1)
    before, after = rng.lognormal(0, 0.01, 5), rng.lognormal(-0.02, 0.01, 5)
    found = contrast(list(after), list(before), spread([list(before), list(after)]))
    reference = ttest_ind(np.log(after), np.log(before))
    assert found.p_changed() == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval(0.95)
    assert (found.ratio.low, found.ratio.high) == pytest.approx((np.exp(low), np.exp(high)))


def test_the_error_of_two_meters_widens_the_ratio():
    scatter = Spread(0.004, 4)
    assert contrast([1.0, 1.0], [1.0, 1.0], scatter, common=0.01).error > contrast([1.0, 1.0], [1.0, 1.0], scatter).error


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_rule(p_values):
    adjusted = holm(p_values)
    ordered = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, at in enumerate(ordered):
            if p_values[at] * (len(p_values) - rank) >= level:
                break
            rejected.add(at)
        assert {at for at, p in enumerate(adjusted) if p < level} == rejected


def test_intervals_of_kappa_hold_the_truth():
    rng, held = np.random.default_rng(2), []
    for _study in range(2000):
        saving = rng.uniform(0, SHARE)
        found = expectation("bytes", SHARE, arms(rng, saving, runs=3))
        held.append(found.kappa.holds(1 - saving / SHARE))
        assert found.gap.value == pytest.approx(SHARE * found.kappa.value)
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("kappa", "claim"), [(0.0, "A"), (0.5, "B"), (1.0, "C")])
def test_outcomes_are_claimed_where_true_and_hardly_ever_where_not(kappa, claim):
    rng, claims = np.random.default_rng(3), []
    for _study in range(600):
        joules = arms(rng, SHARE * (1 - kappa))
        claims.append(outcome(expectation("bytes", SHARE, joules), joules, Margins()).claim)
    assert claims.count(claim) / len(claims) > 0.9
    assert sum(found not in (claim, "undecided") for found in claims) / len(claims) <= 0.01


def test_at_the_edge_between_two_outcomes_neither_is_claimed_more_often_than_alpha():
    rng, claims = np.random.default_rng(4), []
    for _study in range(3000):
        joules = arms(rng, SHARE * (1 - Margins().kappa))
        claims.append(outcome(expectation("bytes", SHARE, joules), joules, Margins()).claim)
    assert claims.count("A") / len(claims) < 0.016 and claims.count("B") / len(claims) < 0.016


def test_compensation_is_not_seen_where_there_is_none_and_is_seen_where_others_draw_five_percent_more():
    rng = np.random.default_rng(5)
    claims = {"none": [], "shift": []}
    for _study in range(1500):
        for name, saving in (("none", SHARE), ("shift", SHARE - 0.05)):
            joules = arms(rng, saving)
            claims[name].append(compensation(expectation("bytes", SHARE, joules), joules, Margins()).claim)
    assert claims["none"].count("detected") / 1500 <= 0.015
    assert claims["shift"].count("detected") / 1500 >= 0.9


def test_undecided_names_how_many_more_runs_and_they_mostly_decide():
    rng = np.random.default_rng(6)
    asked = decided = 0
    for _study in range(300):
        joules = arms(rng, SHARE, cv=0.02, runs=4)
        verdict = outcome(expectation("bytes", SHARE, joules), joules, Margins())
        if verdict.claim == "undecided" and verdict.more_repeats and verdict.more_repeats < 200:
            asked += 1
            again = arms(rng, SHARE, cv=0.02, runs=4 + verdict.more_repeats)
            decided += outcome(expectation("bytes", SHARE, again), again, Margins()).claim == "A"
            assert f"{verdict.more_repeats} more repeat" in verdict.sentence
    assert asked > 50 and decided / asked > 0.5


def test_a_saving_beyond_the_work_removed_is_no_compensation_and_is_said():
    joules = arms(np.random.default_rng(7), 2 * SHARE)
    verdict = outcome(expectation("bytes", SHARE, joules), joules, Margins())
    assert verdict.claim == "A" and verdict.sentence.startswith("energy drops by more than the work removed")


def test_one_run_of_each_decides_nothing_and_says_so():
    joules = contrast([0.9], [1.0], spread([[1.0], [0.9]], least=0.001))
    verdict = outcome(expectation("bytes", SHARE, joules), joules, Margins())
    assert verdict.claim == "undecided" and verdict.more_repeats == 2 and "record at least 3" in verdict.sentence
    assert joules.claim(0.01) == "undecided" and joules.p_changed() == 1.0


def test_a_cut_of_nothing_cannot_be_judged():
    joules = Contrast(0.0, 0.01, 4, 3)
    found = expectation("bytes", 0.0, joules)
    assert found.kappa.reason == "the cut removes no bytes"
    assert outcome(found, joules, Margins()).claim == "impossible"
    assert compensation(None, joules, Margins()).claim == "impossible"


@pytest.mark.parametrize(
    ("log", "claim"), [(0.0, "unchanged"), (-0.05, "lower"), (0.05, "higher"), (0.008, "undecided"), (0.004, "unchanged")]
)
def test_a_signal_is_unchanged_only_by_equivalence(log, claim):
    error = 0.0005 if claim in ("unchanged",) else 0.004
    assert Contrast(log, error, 20, 6).claim(0.01) == claim
