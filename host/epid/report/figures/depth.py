"""Comparisons by how deep and where was cut."""

from __future__ import annotations

import math

from ...analysis.study.arm import Arm
from ...analysis.study.comparison import Comparison
from ...analysis.study.study import Study


def arm_named(study: Study, label: str) -> Arm:
    """The arm of a comparison."""
    return next(arm for arm in study.arms if arm.label == label)


def depth_of(study: Study, comparison: Comparison) -> float:
    """Share of the query heads that the compared arm lost; NaN where its file carries no plan."""
    return arm_named(study, comparison.arm).depth


def targets(study: Study) -> dict[str, list[Comparison]]:
    """Comparisons of known depth by what was cut (all, early, late layers; whole KV groups or not), in order of depth."""
    found: dict[str, list[Comparison]] = {}
    for comparison in study.comparisons:
        if math.isfinite(depth_of(study, comparison)):
            found.setdefault(_what(study, comparison), []).append(comparison)
    return {target: sorted(group, key=lambda item: depth_of(study, item)) for target, group in found.items()}


def _what(study: Study, comparison: Comparison) -> str:
    where = f"{arm_named(study, comparison.arm).target or 'all'} layers"
    groups_went = any(layer.kv_heads[0] != layer.kv_heads[1] for layer in comparison.layers)
    return f"{where}, whole KV groups" if groups_went else where
