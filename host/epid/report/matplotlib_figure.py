"""Figures as files: matplotlib, PNG and SVG, without a browser and without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from .figure import GRID, INK, QUIET, Axis, Figure, Heat, Panel, Rule, Series

_DPI = 110
_WIDTH = 1060
_ROOM = 115
"""Pixels around each panel for its title and axis labels."""
_DIVERGING = LinearSegmentedColormap.from_list("change", ["#0c6b58", "#ffffff", "#de3a11"])
_FORMATS = ("png", "svg")
_LEGEND_LETTERS = 130
"""So many letters of a legend stand beside each other across the figure."""


def save_figure(figure: Figure, folder: Path) -> list[Path]:
    """Draw the figure into `folder` as NAME.png and NAME.svg; return the paths. Raises OSError."""
    canvas = _drawn(figure)
    paths = [folder / f"{figure.name}.{kind}" for kind in _FORMATS]
    for path, kind in zip(paths, _FORMATS, strict=True):
        unfinished = path.with_name(f".{path.name}")
        canvas.savefig(unfinished, format=kind, dpi=2 * _DPI, metadata={"Title": figure.heading}, facecolor="white")
        unfinished.replace(path)
    return paths


def _drawn(figure: Figure) -> Canvas:
    heights = [panel.height + _ROOM for panel in figure.panels]
    canvas = Canvas(figsize=(_WIDTH / _DPI, (sum(heights) + 40) / _DPI), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(len(heights), 1, squeeze=False, sharex=figure.shared_x, height_ratios=heights)[:, 0]
    for panel, ax in zip(figure.panels, axes, strict=True):
        _draw(canvas, ax, panel)
    canvas.suptitle(figure.title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    if figure.simulated:
        canvas.text(0.99, 0.995, "simulated meter", ha="right", va="top", fontsize=9, color="#ba2525")
    return canvas


def _draw(canvas: Canvas, ax: Any, panel: Panel) -> None:
    for rule in panel.rules:
        _rule(ax, rule)
    if panel.heat is not None:
        _heat(canvas, ax, panel.heat)
    for series in panel.series:
        _series(ax, series)
    for block in panel.blocks:
        ax.barh(block.row, block.x1 - block.x0, left=block.x0, height=0.7, color=block.colour, linewidth=0)
    _axes(ax, panel)
    _legend(ax, panel)


def _series(ax: Any, series: Series) -> None:
    label = series.name if series.listed else "_"
    if series.style == "bars":
        errors = _errors(series.x, series.x_low, series.x_high)
        ax.barh(series.y, series.x, height=0.5, color=series.colour, xerr=errors, capsize=3, label=label, ecolor=INK)
        return
    if "line" in series.style:
        ax.plot(series.x, series.y, color=series.colour, linewidth=1.1, linestyle="--" if series.dash else "-", label=label)
        label = "_"
    if "points" in series.style:
        off = {"yerr": _errors(series.y, series.low, series.high), "xerr": _errors(series.x, series.x_low, series.x_high)}
        look = {"fmt": "o", "color": series.colour, "markersize": 5, "capsize": 3, "elinewidth": 1}
        ax.errorbar(series.x, series.y, label=label, **off, **look)


def _errors(middle: np.ndarray, low: np.ndarray | None, high: np.ndarray | None) -> np.ndarray | None:
    return None if low is None or high is None else np.array([np.maximum(middle - low, 0), np.maximum(high - middle, 0)])


def _heat(canvas: Canvas, ax: Any, heat: Heat) -> None:
    low, high = heat.limits
    colours = _DIVERGING if heat.diverging else "Blues"
    image = ax.imshow(heat.values, aspect="auto", interpolation="nearest", origin="lower", cmap=colours, vmin=low, vmax=high)
    canvas.colorbar(image, ax=ax, label=heat.unit, pad=0.01).ax.tick_params(labelsize=8)
    for row, line in enumerate(heat.marks):
        for column, mark in enumerate(line):
            strong = abs(heat.values[row, column]) > 0.55 * high
            ax.text(column, row, mark, ha="center", va="center", fontsize=8, color="white" if strong else INK)


def _rule(ax: Any, rule: Rule) -> None:
    if rule.until is not None:
        ax.axhspan(rule.value, rule.until, color=rule.colour, alpha=0.12, linewidth=0)
    elif rule.upright:
        ax.axvline(rule.value, color=rule.colour, linestyle="--", linewidth=1)
    else:
        ax.axhline(rule.value, color=rule.colour, linestyle=":", linewidth=1)
    if rule.label and rule.upright:
        ax.text(rule.value, 1.01, rule.label, transform=ax.get_xaxis_transform(), ha="center", fontsize=8, color=rule.colour)
    elif rule.label:
        at = rule.value if rule.until is None else rule.until
        ax.text(0.995, at, rule.label, transform=ax.get_yaxis_transform(), ha="right", va="bottom", fontsize=8, color=rule.colour)


def _axes(ax: Any, panel: Panel) -> None:
    ax.set_title(panel.title, loc="left", fontsize=10, color=QUIET)
    ax.set_xlabel(panel.x.label, fontsize=9)
    ax.set_ylabel(panel.y.label, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_axisbelow(True)
    if panel.heat is None:
        ax.grid(color=GRID, linewidth=0.8)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    _scale(panel.x, ax.set_xticks, ax.set_xlim, ax.get_xlim)
    _scale(panel.y, ax.set_yticks, ax.set_ylim, ax.get_ylim)


def _scale(axis: Axis, set_ticks: Any, set_limits: Any, get_limits: Any) -> None:
    n = len(axis.categories)
    if n:
        step = max(1, n // 40)
        set_ticks(range(0, n, step), axis.categories[::step])
        set_limits(*((n - 0.5, -0.5) if axis.reversed else (-0.5, n - 0.5)))
    elif axis.from_zero:
        low, high = get_limits()
        set_limits(min(low, 0), max(high, 0))


def _legend(ax: Any, panel: Panel) -> None:
    handles, labels = ax.get_legend_handles_labels()
    for name in dict.fromkeys(block.name for block in panel.blocks):
        handles.append(Patch(color=next(block.colour for block in panel.blocks if block.name == name)))
        labels.append(name)
    if len(labels) > 1:
        columns = max(1, min(6, _LEGEND_LETTERS // (max(map(len, labels)) + 6)))
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.02), "borderaxespad": 1.6}
        ax.legend(handles, labels, fontsize=8, frameon=False, ncols=columns, **place)
