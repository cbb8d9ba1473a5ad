"""Comparisons by how deep and where was cut."""

from __future__ import annotations

import math

from ...analysis.arm import Arm
from ...analysis.comparison import Comparison
from ...analysis.study import Study


def arm_named(study: Study, label: str) -> Arm:
    """The arm of a comparison."""
    return next(arm for arm in study.arms if arm.label == label)


def depth_of(study: Study, comparison: Comparison) -> float:
    """Share of the query heads that the compared arm lost; NaN where its file carries no plan."""
    return arm_named(study, comparison.arm).depth


def targets(study: Study) -> dict[str, list[Comparison]]:
    """Comparisons of known depth by target (all, early, late, …), each in order of depth."""
    found: dict[str, list[Comparison]] = {}
    for comparison in study.comparisons:
        if math.isfinite(depth_of(study, comparison)):
            found.setdefault(arm_named(study, comparison.arm).target or "all", []).append(comparison)
    return {target: sorted(group, key=lambda item: depth_of(study, item)) for target, group in found.items()}
