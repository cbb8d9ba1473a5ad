"""Expected against measured saving over the depth of the cut."""

from __future__ import annotations

import numpy as np

from ...analysis.comparison import Comparison
from ...analysis.study import Study
from ..figure import Axis, Figure, Panel, Rule, Series, arm_colour, columns_of
from .depth import depth_of, targets

_BASES = {"heads": "expected by share of heads", "flops": "expected by operations", "bytes": "expected by bytes read"}


def saving_figure(study: Study) -> Figure | None:
    """Measured saving with its interval, and a line per expectation; None without a cut of known depth."""
    groups = targets(study)
    if not groups:
        return None
    measured = tuple(_measured(study, target, comparisons, at) for at, (target, comparisons) in enumerate(groups.items()))
    lines = {basis: line for basis in _BASES if (line := _expected(study, groups, basis)) is not None}
    work = tuple(line for basis, line in lines.items() if basis != "heads")
    panels = [_panel("against the share of heads", (*lines.values(), *measured))]
    if work and "heads" in lines:
        panels.append(_panel("against the work removed", (*work, *measured)))
    note = "Below its line of expectation, a cut saves less than the work it removed: the others compensate, or it was cheap."
    return Figure("saving", "Saving: expected and measured", tuple(panels), study.simulated, note)


def _panel(title: str, series: tuple[Series, ...]) -> Panel:
    y = Axis("saving of J/token, %", from_zero=True)
    return Panel(Axis("query heads removed, %"), y, title, series=series, rules=(Rule(0, ""),), height=300)


def _measured(study: Study, target: str, comparisons: list[Comparison], number: int) -> Series:
    depth = np.array([100 * depth_of(study, comparison) for comparison in comparisons])
    value, low, high = columns_of([comparison.saving.scaled(100) for comparison in comparisons])
    notes = tuple(comparison.arm for comparison in comparisons)
    return Series(f"measured, {target} layers", depth, value, arm_colour(number), low=low, high=high, notes=notes)


def _expected(study: Study, groups: dict[str, list[Comparison]], basis: str) -> Series | None:
    points = sorted(
        (100 * depth_of(study, comparison), 100 * expectation.share)
        for comparisons in groups.values()
        for comparison in comparisons
        for expectation in comparison.expected
        if expectation.basis == basis
    )
    if not points:
        return None
    colour = {"heads": "#9aa5b1", "flops": "#52606d", "bytes": "#1f2933"}[basis]
    x, y = np.array([0.0, *(x for x, _ in points)]), np.array([0.0, *(y for _, y in points)])
    return Series(_BASES[basis], x, y, colour, style="line", dash=True)
