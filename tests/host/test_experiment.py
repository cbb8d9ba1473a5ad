"""Planned experiments against simulated ones."""

import json
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import ttest_ind

from epid.analysis.study.experiment import Noise, order_of, plan, power_of, repeats_needed
from epid.cli import main
from epid.errors import UsageError

SIMULATOR_CV = 0.004
"""Larger than what simulated runs of 90 seconds scatter by, drawn wandering and run-to-run spread of power included."""
RUN_MINUTES = 1.5


@pytest.mark.parametrize(("effect", "cv", "repeats"), [(0.01, 0.004, 8), (0.01, 0.01, 12), (0.05, 0.02, 5)])
def test_power_is_how_often_simulated_experiments_see_the_effect(effect, cv, repeats):
    rng = np.random.default_rng(1)
    before = cv * rng.standard_normal((20_000, repeats))
    after = np.log1p(-effect) + cv * rng.standard_normal((20_000, repeats))
    seen = np.mean(ttest_ind(after, before, axis=1).pvalue < 0.01)
    assert power_of(repeats, effect, cv, 0.01) == pytest.approx(seen, abs=0.012)


def test_one_percent_is_seen_within_a_quarter_of_an_hour_per_arm():
    planned = plan(("a", "b"), 0.01, Noise(SIMULATOR_CV, SIMULATOR_CV, "test"), 0.01, 0.95, "abba", 0, RUN_MINUTES)
    assert planned.power >= 0.95 and planned.minutes <= 15
    rng = np.random.default_rng(2)
    before = SIMULATOR_CV * rng.standard_normal((4000, planned.repeats))
    after = np.log(0.99) + SIMULATOR_CV * rng.standard_normal((4000, planned.repeats))
    assert np.mean(ttest_ind(after, before, axis=1).pvalue < 0.01) >= 0.95
    assert np.mean(ttest_ind(before, after - np.log(0.99), axis=1).pvalue < 0.01) == pytest.approx(0.01, abs=0.005)


def test_the_repeats_are_the_least_that_do():
    needed = repeats_needed(0.01, 0.01, 0.01, 0.95)
    assert power_of(needed, 0.01, 0.01, 0.01) >= 0.95 > power_of(needed - 1, 0.01, 0.01, 0.01)
    assert repeats_needed(0.2, 0.001, 0.01, 0.95) == 3
    powers = [power_of(repeats, 0.01, cv, 0.01) for repeats in (3, 4, 8, 30) for cv in np.geomspace(1e-5, 0.1, 60)]
    assert all(0.01 <= power <= 1.0 + 1e-9 for power in powers)


def test_an_effect_that_no_experiment_shows_is_refused():
    with pytest.raises(UsageError, match="make runs longer"):
        repeats_needed(0.0001, 0.05, 0.01, 0.95)


def test_abba_meets_every_arm_at_the_same_mean_time():
    order = order_of(("a", "b", "c"), 4, "abba", 0)
    means = {arm: np.mean([at for at, name in enumerate(order) if name == arm]) for arm in "abc"}
    assert len(set(means.values())) == 1 and order[:6] == ("a", "b", "c", "c", "b", "a")


def test_randomised_blocks_hold_every_arm_once_and_come_again_with_their_seed():
    order = order_of(("a", "b", "c"), 10, "blocks", 7)
    assert all(Counter(order[at : at + 3]) == Counter("abc") for at in range(0, 30, 3))
    assert order == order_of(("a", "b", "c"), 10, "blocks", 7) != order_of(("a", "b", "c"), 10, "blocks", 8)


def test_the_command_says_repeats_order_and_minutes():
    shown = CliRunner().invoke(main, ["plan-experiment", "--cv", "0.4", "--minutes", "1.5", "--arm", "base", "--arm", "cut"])
    assert shown.exit_code == 0 and "8 runs of each arm" in shown.output and "12.0 minutes per arm" in shown.output
    done = CliRunner().invoke(main, ["plan-experiment", "--cv", "0.4", "--layout", "blocks", "--seed", "3", "--json"])
    found = json.loads(done.output)
    assert found["repeats"] == 8 and len(found["order"]) == 16 and found["minutes_per_arm"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "name earlier runs"),
        (["--cv", "0"], "--cv 0 is not between"),
        (["--cv", "0.4", "--effect", "0"], "--effect 0 is not between"),
        (["--cv", "0.4", "--alpha", "0.7"], "--alpha must lie between"),
        (["--cv", "0.4", "--power", "1"], "--power between"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(options, sentence):
    done = CliRunner().invoke(main, ["plan-experiment", *options])
    assert done.exit_code == 2 and sentence in done.output and "Traceback" not in done.output
