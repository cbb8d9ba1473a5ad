"""Grouped-query attention: what a query head costs, and what the keys and values that a group shares cost."""

from __future__ import annotations

import numpy as np

from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Series, arm_colour, columns_of


def group_figure(study: Study) -> Figure | None:
    """Saving against heads removed, coloured by the KV groups gone, and the two costs; None without heads."""
    points = _points(study)
    if not points:
        return None
    panels = [Panel(Axis("query heads removed", from_zero=True), Axis("saving, mJ per token"), "each cut", series=points)]
    costs = [study.groups.per_query_head, study.groups.per_kv_group]
    if any(cost.known for cost in costs):
        value, low, high = columns_of([cost.scaled(1e3) for cost in costs])
        names = Axis("", categories=("one query head", "one KV group"), reversed=True)
        bars = Series("cost", value, np.arange(2.0), arm_colour(2), "bars", x_low=low, x_high=high, listed=False)
        panels.append(Panel(Axis("mJ per token", from_zero=True), names, "what one of them costs", series=(bars,), height=190))
    note = next((f"Not told apart: {cost.reason}." for cost in costs if not cost.known), "")
    return Figure("kv-groups", "Grouped-query attention", tuple(panels), study.simulated, note)


def _points(study: Study) -> tuple[Series, ...]:
    baseline_j = study.arms[0].j_per_token.value
    by_groups: dict[int, list[tuple[int, int]]] = {}
    for at, comparison in enumerate(study.comparisons):
        heads = sum(layer.heads[0] - layer.heads[1] for layer in comparison.layers)
        groups = sum(layer.kv_heads[0] - layer.kv_heads[1] for layer in comparison.layers)
        if heads:
            by_groups.setdefault(groups, []).append((heads, at))
    series = []
    for number, (groups, cuts) in enumerate(sorted(by_groups.items())):
        value, low, high = columns_of([study.comparisons[at].saving.scaled(1e3 * baseline_j) for _, at in cuts])
        removed = np.array([float(count) for count, _ in cuts])
        notes = tuple(study.comparisons[at].arm for _, at in cuts)
        series.append(Series(f"{groups} KV groups gone", removed, value, arm_colour(number), low=low, high=high, notes=notes))
    return tuple(series)
