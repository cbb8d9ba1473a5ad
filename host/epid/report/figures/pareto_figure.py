"""Accuracy against joules per token: which models no other beats in both."""

from __future__ import annotations

import numpy as np

from ...analysis.study.arm import Arm
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Series, arm_colour, columns_of


def pareto_figure(study: Study) -> Figure | None:
    """A point per arm with both intervals, and the front; None where fewer than two arms have an accuracy."""
    known = [(at, arm) for at, arm in enumerate(study.arms) if arm.epi.accuracy is not None and arm.j_per_token.known]
    if len(known) < 2:
        return None
    front = sorted(
        (arm for _, arm in known if not _beaten(arm, [other for _, other in known])), key=lambda a: a.j_per_token.value
    )
    line = Series(
        "not beaten in both",
        np.array([arm.j_per_token.value for arm in front]),
        np.array([100 * _accuracy(arm) for arm in front]),
        "#9aa5b1",
        style="line",
        dash=True,
    )
    panel = Panel(
        Axis("J per generated token"),
        Axis("accuracy, %"),
        series=(line, *(_point(arm, at) for at, arm in known)),
        height=400,
    )
    tasks = sorted({arm.epi.accuracy.source for _, arm in known if arm.epi.accuracy is not None})
    note = f"Up and to the left is better. Accuracy on {', '.join(tasks)}."
    return Figure("pareto", "Accuracy against joules per token", (panel,), study.simulated, note)


def _accuracy(arm: Arm) -> float:
    return arm.epi.accuracy.rate.value if arm.epi.accuracy is not None else float("nan")


def _beaten(arm: Arm, others: list[Arm]) -> bool:
    """Whether another arm is at least as good in both and better in one."""
    mine = (-arm.j_per_token.value, _accuracy(arm))
    theirs = [(-other.j_per_token.value, _accuracy(other)) for other in others if other is not arm]
    return any(one[0] >= mine[0] and one[1] >= mine[1] and one != mine for one in theirs)


def _point(arm: Arm, number: int) -> Series:
    assert arm.epi.accuracy is not None
    x, x_low, x_high = columns_of([arm.j_per_token])
    y, low, high = columns_of([arm.epi.accuracy.rate.scaled(100)])
    return Series(arm.label, x, y, arm_colour(number), low=low, high=high, x_low=x_low, x_high=x_high, notes=(arm.label,))
