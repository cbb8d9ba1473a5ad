"""One simulated experiment through the analysis, and each figure held against its truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coverage_world import UTC, World

from epi_tools.simrun.experiment import interleaved, simulate
from epi_tools.simrun.heard import Hear, hear
from epid.analysis.interval import Interval
from epid.analysis.study.comparison import LayerChange
from epid.analysis.summary import Summary, summarise


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of one experiment. `held`: whether its interval contains the truth; `error`: relative; `width`: relative, half.

    For a claim instead of a figure `held` says whether it was right, and `claim` what it was.
    """

    experiment: int
    name: str
    held: bool
    error: float
    width: float
    claim: str = ""

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def score_world(world: World, seed: int, repeats: int, folder: Path, study: bool, hear_board: Hear = hear) -> list[Score]:
    """Simulate all runs of an experiment into `folder`, work them out, and score what was found."""
    written = [
        simulate(order, seed + world.number, folder / f"{order.place:02d}.mcap", UTC, None, lambda _share: None, hear_board)
        for order in interleaved([world.baseline, world.pruned], repeats)
    ]
    summaries = [summarise(one.run) for one in written]
    scores = [score for summary, one in zip(summaries, written, strict=True) for score in run_scores(world, summary, one.truth)]
    return scores + (list(study_scores(world, summaries, [one.truth for one in written])) if study else [])


def run_scores(world: World, summary: Summary, truth: dict[str, Any]) -> Iterator[Score]:
    """Scores of one run."""
    n = world.number
    for phase in ("prefill", "decode"):
        found = getattr(summary, phase)
        yield figure(n, f"{phase} J/token", found.per_token, truth[phase]["j_per_token"])
        yield figure(n, f"{phase} J/token net", found.per_token_net, truth[phase]["j_per_token_net"])
    yield figure(n, "idle W", summary.idle.interval.scaled(1.0), truth["idle_w"] * truth["meter_gain"])
    yield figure(n, "EPI of a run", summary.epi.epi, truth["epi"])
    for layer, true in zip(summary.layers, truth["layers"], strict=True):
        true_j = true["attention_j_per_token"] + true["ffn_j_per_token"]
        if world.repeated and layer.by_regression.known:
            yield figure(n, "layer J/token", layer.by_regression, true_j)
        for half in ("attention", "ffn"):
            found = getattr(layer, half)
            if world.baseline.workload.repeat_halves and world.repeated:
                yield Score(n, f"{half} claimed", True, math.nan, math.nan, "yes" if found.known else "no")
            if found.known:
                yield figure(n, f"{half} J/token", found, true[f"{half}_j_per_token"])
        if not world.repeated:
            yield Score(n, "layer not identifiable", not layer.by_regression.known, math.nan, math.nan)


def study_scores(world: World, summaries: list[Summary], truths: list[dict[str, Any]]) -> Iterator[Score]:
    """Scores of the comparison of both arms; `truths` are those of the runs."""
    from epid.analysis.study.study import study_of

    study = study_of(summaries)
    n = world.number
    for arm in study.arms:
        name = "baseline" if "baseline" in arm.label else "pruned"
        yield figure(n, "arm J/token", arm.j_per_token, world.j_per_token[name])
        truth = getattr(world, name)
        yield figure(n, "arm EPI", arm.epi.epi, world.j_per_token[name] / truth.accuracy.value)
    for comparison in study.comparisons:
        yield figure(n, "saving", comparison.saving, world.saving, relative=False)
        for expectation in comparison.expected:
            kappa = 1 - world.saving / expectation.share
            yield figure(n, f"κ by {expectation.basis}", expectation.kappa, kappa, relative=False)
        yield from _verdicts(world, comparison)
        for change in comparison.layers:
            yield from _changes(n, change, truths)


def _changes(number: int, change: LayerChange, truths: list[dict[str, Any]]) -> Iterator[Score]:
    """Ratios of joules per layer, and per half of it, where there are any."""
    for name, halves in (("energy", ("attention", "ffn")), ("attention_energy", ("attention",)), ("ffn_energy", ("ffn",))):
        found = getattr(change, name)
        if found.known:
            yield figure(number, f"{name} ratio of a layer", found, _true_ratio(truths, change.layer, halves))


def _true_ratio(truths: list[dict[str, Any]], layer: int, halves: tuple[str, ...]) -> float:
    def mean_j(arm: str) -> float:
        layers = [truth["layers"][layer] for truth in truths if truth["arm"] == arm]
        return float(np.mean([sum(each[f"{half}_j_per_token"] for half in halves) for each in layers]))

    return mean_j("pruned") / mean_j("baseline")


def _verdicts(world: World, comparison: Any) -> Iterator[Score]:
    """Claims against the truth on the basis that was drawn; an undecided claim is never false."""
    share = next(item.share for item in comparison.expected if item.basis == comparison.basis)
    kappa = 1 - world.saving / share
    margin = comparison.margins.kappa
    right = {"A": abs(kappa) < margin, "B": margin < kappa < 1 - margin, "C": kappa > 1 - margin}
    claim = comparison.outcome.claim
    yield Score(world.number, f"outcome, {world.story}", right.get(claim, True), kappa, share, claim)
    compensates = kappa > 1e-3
    claimed = comparison.compensation.claim
    held = not comparison.compensation.decided or (claimed in ("detected", "yes")) == compensates
    yield Score(world.number, f"compensation, {world.story}", held, kappa, share, claimed)


def figure(experiment: int, name: str, found: Interval, true: float, relative: bool = True) -> Score:
    """Score of one figure; one that is missing does not hold its truth. What may be 0 is not scored relative to itself."""
    scale = abs(true) if relative else 1.0
    return Score(experiment, name, found.holds(true), (found.value - true) / scale, found.half_width / scale)
