"""EPI over the depth of the cut: lower is better; where does it stop improving?"""

from __future__ import annotations

import numpy as np

from ...analysis.study.arm import Arm
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Rule, Series, arm_colour, columns_of
from .depth import arm_named, targets


def epi_figure(study: Study) -> Figure | None:
    """A curve per target, each from the baseline on; None where no accuracy is known or nothing was cut."""
    groups = {target: [arm_named(study, item.arm) for item in items] for target, items in targets(study).items()}
    baseline = study.arms[0]
    if not groups or not baseline.epi.epi.known:
        return None
    series = tuple(_curve(target, [baseline, *arms], at) for at, (target, arms) in enumerate(groups.items()))
    panel = Panel(
        Axis("query heads removed, %"),
        Axis("EPI, J per token and unit of accuracy"),
        series=series,
        rules=(Rule(baseline.epi.epi.value, "baseline"),),
        height=360,
    )
    note = "Below the line of the baseline the cut pays; above it, intelligence was lost without saving joules."
    return Figure("epi", "Energy per intelligence over depth", (panel,), study.simulated, note)


def _curve(target: str, arms: list[Arm], number: int) -> Series:
    depth = np.array([0.0 if at == 0 else 100 * arm.depth for at, arm in enumerate(arms)])
    value, low, high = columns_of([arm.epi.epi for arm in arms])
    notes = tuple(arm.label for arm in arms)
    return Series(target, depth, value, arm_colour(number), style="line+points", low=low, high=high, notes=notes)
