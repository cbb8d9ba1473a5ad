"""Expected against measured saving over the depth of the cut."""

from __future__ import annotations

import numpy as np

from ...analysis.study.comparison import Comparison
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Rule, Series, arm_colour, columns_of
from .depth import depth_of, targets

_BASES = {"heads": "expected by share of heads", "flops": "expected by operations", "bytes": "expected by bytes read"}

_COLOURS = {"heads": "#9aa5b1", "flops": "#52606d", "bytes": "#1f2933"}


def saving_figure(study: Study) -> Figure | None:
    """Measured saving with its interval, and a line per expectation; None without a cut of known depth."""
    groups = targets(study)
    if not groups:
        return None
    measured = tuple(_measured(study, target, comparisons, at) for at, (target, comparisons) in enumerate(groups.items()))
    expected = {basis: _expected(study, groups, basis) for basis in _BASES}
    work = (*expected["flops"], *expected["bytes"])
    panels = [_panel("against the share of heads", (*expected["heads"], *work, *measured))]
    if work and expected["heads"]:
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
    return Series(f"measured, {target}", depth, value, arm_colour(number), low=low, high=high, notes=notes)


def _expected(study: Study, groups: dict[str, list[Comparison]], basis: str) -> tuple[Series, ...]:
    """One line per group of cuts from the origin on; the legend names them once."""
    lines: list[Series] = []
    for comparisons in groups.values():
        points = [
            (100 * depth_of(study, comparison), 100 * expectation.share)
            for comparison in comparisons
            for expectation in comparison.expected
            if expectation.basis == basis
        ]
        if points:
            x, y = np.array([0.0, *(x for x, _ in points)]), np.array([0.0, *(y for _, y in points)])
            lines.append(Series(_BASES[basis], x, y, _COLOURS[basis], style="line", dash=True, listed=not lines))
    return tuple(lines)
