"""Joules of the attention and of the feed-forward half of each layer, before and after the cut, where runs tell them apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...analysis.study.arm import Arm
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Panel, Series, arm_colour, columns_of

_TITLES = {"attention": "attention", "ffn": "feed-forward half"}
_BETWEEN = 0.16


def half_energy_figure(study: Study) -> Figure | None:
    """One panel for each half, the first run of each arm in it; None where no run repeated halves often enough."""
    panels = tuple(_panel(study.arms, half, title) for half, title in _TITLES.items())
    if not any(panel.series for panel in panels):
        return None
    note = (
        "Regression of the metered energy on randomly repeated halves, with 95 % intervals, the first run of each arm. A half "
        "without a point was repeated too seldom, or was not repeated at all."
    )
    return Figure("half-energy", "Joules per half of a layer and token", panels, study.simulated, note)


def _panel(arms: tuple[Arm, ...], half: str, title: str) -> Panel:
    return Panel(Axis("layer"), Axis("mJ per token"), title, series=tuple(_series(arms, half)), height=300)


def _series(arms: tuple[Arm, ...], half: str) -> Iterator[Series]:
    for at, arm in enumerate(arms):
        layers = arm.runs[0].layers
        joules, low, high = columns_of([getattr(layer, half).scaled(1e3) for layer in layers])
        if np.isfinite(joules).any():
            numbers = np.array([layer.layer + _BETWEEN * (at - (len(arms) - 1) / 2) for layer in layers])
            yield Series(arm.label, numbers, joules, arm_colour(at), low=low, high=high)
