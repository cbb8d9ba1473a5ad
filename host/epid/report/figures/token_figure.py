"""Joules per token of each arm: gross with its interval, and the part that the idle node draws anyway."""

from __future__ import annotations

import numpy as np

from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Series, columns_of


def token_figure(study: Study) -> Figure:
    """One bar per arm."""
    arms = study.arms
    rows = np.arange(len(arms), dtype=float)
    gross, low, high = columns_of([arm.j_per_token for arm in arms])
    net = np.array([arm.j_per_token_net.value for arm in arms])
    bars = [Series("gross", gross, rows, "#f9703e", "bars", x_low=low, x_high=high)]
    if np.isfinite(net).all():
        bars.append(Series("of it: idle node", gross - net, rows, "#cbd2d9", "bars"))
    runs = [(run.decode.per_token.value, row) for row, arm in enumerate(arms) for run in arm.runs]
    points = Series("single runs", np.array([x for x, _ in runs]), np.array([float(y) for _, y in runs]), "#1f2933", "points")
    panel = Panel(
        Axis("J per generated token", from_zero=True),
        Axis("", categories=tuple(arm.label for arm in arms), reversed=True),
        series=(*bars, points),
        height=110 + 46 * len(arms),
    )
    note = "Bars: median over the runs of an arm, with its 95 % interval. Grey: what the idle node draws in the same time."
    return Figure("joules-per-token", "Joules per token, decode", (panel,), study.simulated, note)
