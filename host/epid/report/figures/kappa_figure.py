"""Compensation coefficient over the depth of the cut, and the depth from which savings are real."""

from __future__ import annotations

import math

import numpy as np

from ...analysis.study.comparison import Comparison
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Rule, Series, arm_colour, columns_of
from .depth import depth_of, targets


def kappa_figure(study: Study) -> Figure | None:
    """κ with its interval per cut; None where nothing was cut."""
    groups = {target: [item for item in items if item.kappa.known] for target, items in targets(study).items()}
    groups = {target: items for target, items in groups.items() if items}
    if not groups:
        return None
    series = tuple(_points(study, target, items, at) for at, (target, items) in enumerate(groups.items()))
    margin = study.comparisons[0].margins.kappa
    rules = [
        Rule(-margin, "none: the whole saving arrives", "#0c6b58", until=margin),
        Rule(1 - margin, "full: nothing is saved", "#de3a11", until=1 + margin),
    ]
    if math.isfinite(study.threshold.depth):
        rules.append(Rule(100 * study.threshold.depth, "savings are real from here", "#0b69a3", upright=True))
    panel = Panel(
        Axis("query heads removed, %", from_zero=True),
        Axis("κ = 1 − measured ÷ expected saving"),
        series=series,
        rules=tuple(rules),
        height=380,
    )
    sentence = study.threshold.sentence
    note = f"Expected by {study.comparisons[0].basis}. {sentence[:1].upper()}{sentence[1:]}."
    return Figure("kappa", "Compensation over depth", (panel,), study.simulated, note)


def _points(study: Study, target: str, items: list[Comparison], number: int) -> Series:
    depth = np.array([100 * depth_of(study, item) for item in items])
    value, low, high = columns_of([item.kappa for item in items])
    notes = tuple(f"{item.arm}: {item.compensation.claim}" for item in items)
    return Series(target, depth, value, arm_colour(number), style="line+points", low=low, high=high, notes=notes)
