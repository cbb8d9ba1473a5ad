"""Joules of each layer per token, by share of the time and by regression, beside each other."""

from __future__ import annotations

import numpy as np

from ...analysis.study.study import Study
from ...analysis.summary import Summary
from ..figure import Axis, Figure, Panel, Series, arm_colour, columns_of

_BESIDE = 0.14


def layer_energy_figure(study: Study) -> Figure | None:
    """One panel for the first run of each of the first arms; None where no layer was timed."""
    runs = [arm.runs[0] for arm in study.arms[:4] if arm.runs[0].layers]
    if not runs:
        return None
    panels = tuple(_panel(run) for run in runs)
    note = (
        "Blue: regression of the metered energy on randomly repeated layers, with 95 % intervals. Grey: share of the time, "
        "which takes every moment of decoding to draw the same power. A layer without a blue point is not identifiable from "
        "this run; record with layer repetition."
    )
    return Figure("layer-energy", "Joules per layer and token", panels, study.simulated, note)


def _panel(run: Summary) -> Panel:
    numbers = np.array([float(layer.layer) for layer in run.layers])
    measured, low, high = columns_of([layer.by_regression.scaled(1e3) for layer in run.layers])
    shared, shared_low, shared_high = columns_of([layer.by_time.scaled(1e3) for layer in run.layers])
    series = [
        Series("by share of the time", numbers - _BESIDE, shared, "#9aa5b1", low=shared_low, high=shared_high),
        Series("by regression", numbers + _BESIDE, measured, arm_colour(0), low=low, high=high),
    ]
    return Panel(Axis("layer"), Axis("mJ per token"), run.run.label, series=tuple(series), height=300)
