"""The coverage bench in small: truths are drawn as said, scores are what they claim, and an experiment goes all the way."""

import math
import sys
from pathlib import Path

import pytest

from epid.analysis.interval import Interval

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import coverage
from coverage_score import figure, score_world
from coverage_world import SHIFT, STORIES, draw_world, removed_share


@pytest.mark.parametrize("number", range(4))
def test_a_world_saves_what_its_story_says(number):
    world = draw_world(number, seed=3)
    share = removed_share(world.pruned)
    wanted = {"none": share, "partial": share / 2, "full": 0.0, "shift": share - SHIFT}[STORIES[number]]
    assert world.story == STORIES[number] and world.saving == pytest.approx(wanted, abs=2e-3)


def test_other_seeds_draw_other_truths_and_the_same_seed_the_same():
    assert draw_world(0, 1) == draw_world(0, 1)
    assert draw_world(0, 1).baseline != draw_world(0, 2).baseline


def test_a_score_holds_when_the_interval_does():
    assert figure(0, "x", Interval(1.0, 0.9, 1.1), 1.05).held
    missed = figure(0, "x", Interval(1.0, 0.9, 1.1), 2.0)
    assert not missed.held and (missed.error, missed.width) == pytest.approx((-0.5, 0.05))
    assert not figure(0, "x", Interval.missing(), 1.0).held
    assert figure(0, "x", Interval(0.01, -0.1, 0.1), 0.0, relative=False).error == pytest.approx(0.01)


def test_one_experiment_from_truth_to_verdict(tmp_path):
    scores = score_world(draw_world(0, seed=3), 3, 2, tmp_path, study=True)
    by_name = {score.name: score for score in scores}
    assert {"decode J/token", "EPI of a run", "layer J/token", "saving", "κ by bytes", "outcome, none"} <= set(by_name)
    joules = [score for score in scores if score.name == "decode J/token"]
    assert len(joules) == 4 and all(abs(score.error) < 0.02 for score in joules)
    assert all(abs(score.error) < 0.1 for score in scores if score.name == "layer J/token")
    assert by_name["outcome, none"].claim in ("A", "undecided")


def test_the_table_counts_what_was_held():
    scores = [figure(n, "x", Interval(1.0, 0.9, 1.1), true).to_map() for n, true in enumerate((1.0, 1.05, 3.0, 0.95))]
    scores.append(coverage._failed(4, ValueError("no")))
    rows = {row["figure"]: row for row in coverage.table(scores)}
    assert (rows["x"]["n"], rows["x"]["held"]) == (4, 0.75) and rows["worked out at all"]["claims"] == {"ValueError: no": 1}
    assert rows["worked out at all"]["error_median"] is None and math.isfinite(rows["x"]["error_95"])
    assert "75.0%" in coverage.as_text(list(rows.values()))
