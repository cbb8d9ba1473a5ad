"""Time of each layer per token, before and after the cut, as heat maps: which layers got faster, which slower."""

from __future__ import annotations

import numpy as np

from ...analysis.study.arm import Arm
from ...analysis.study.comparison import Comparison
from ...analysis.study.study import Study
from ..figure import Axis, Figure, Heat, Panel

_ROW_PIXELS = 30
_WRITTEN = 16
"""Up to so many layers, the figures stand in the cells."""


def layer_time_figure(study: Study) -> Figure | None:
    """Attention, feed-forward half, and the change of the whole layer against the baseline; None without layers."""
    numbers = sorted({layer.layer for arm in study.arms for layer in arm.runs[0].layers})
    if not numbers:
        return None
    layers = Axis("layer", categories=tuple(str(number) for number in numbers))
    arms = Axis("", categories=tuple(arm.label for arm in study.arms), reversed=True)
    panels = [
        _times(study.arms, numbers, layers, arms, "attention"),
        _times(study.arms, numbers, layers, arms, "ffn"),
    ]
    if study.comparisons:
        panels.append(_changes(study.comparisons, numbers, layers))
    note = (
        "Medians per generated token. ▲ slower and ▼ faster mark layers whose time changed beyond doubt (Holm's correction "
        "over all layers); ○ marks layers that lost heads."
    )
    return Figure(
        "layer-time", "Time per layer, before and after", tuple(panels), study.simulated, note if study.comparisons else ""
    )


def _times(arms: tuple[Arm, ...], numbers: list[int], x: Axis, y: Axis, half: str) -> Panel:
    values = np.array([[_median_us(arm, number, half) for number in numbers] for arm in arms])
    title = {"attention": "attention, µs per token", "ffn": "feed-forward half, µs per token"}[half]
    marks = tuple(tuple(_written(value) for value in row) for row in values) if len(numbers) <= _WRITTEN else ()
    return Panel(x, y, title, heat=Heat(values, "µs", marks=marks), height=_height(len(arms)))


def _written(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else ""


def _median_us(arm: Arm, number: int, half: str) -> float:
    found = [getattr(layer, f"{half}_us") for run in arm.runs for layer in run.layers if layer.layer == number]
    return float(np.median(found)) if found else float("nan")


def _changes(comparisons: tuple[Comparison, ...], numbers: list[int], x: Axis) -> Panel:
    values = np.full((len(comparisons), len(numbers)), np.nan)
    marks = [[""] * len(numbers) for _ in comparisons]
    for row, comparison in enumerate(comparisons):
        for change in comparison.layers:
            if change.layer in numbers:
                at = numbers.index(change.layer)
                values[row, at] = 100 * (change.time.value - 1)
                marks[row][at] = ("○" if change.pruned else "") + {"slower": "▲", "faster": "▼"}.get(change.claim, "")
    y = Axis("", categories=tuple(comparison.arm for comparison in comparisons), reversed=True)
    heat = Heat(values, "%", diverging=True, marks=tuple(map(tuple, marks)))
    return Panel(x, y, "change of the whole layer against the baseline, %", heat=heat, height=_height(len(comparisons)))


def _height(rows: int) -> int:
    return 100 + _ROW_PIXELS * rows
