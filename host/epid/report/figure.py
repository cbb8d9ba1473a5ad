"""What a figure shows, without a plotting library: both renderers draw from this one description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.interval import Interval

INK, QUIET, GRID = "#1f2933", "#616e7c", "#e4e7eb"
PHASE_COLOURS = {
    "idle": "#cbd2d9",
    "rest": "#e4e7eb",
    "burn": "#d6bcfa",
    "warmup": "#f7d070",
    "prefill": "#2bb0ed",
    "decode": "#f9703e",
}
_LEAST = 2.0
"""Strongest colour of a diverging heat map that shows almost nothing, in its own unit."""

ARM_COLOURS = ("#0b69a3", "#de3a11", "#0c6b58", "#8719e0", "#b44d12", "#486581", "#a61e69", "#5f8c00")


def arm_colour(index: int) -> str:
    """Colour of the arm with this number; the same in every figure."""
    return ARM_COLOURS[index % len(ARM_COLOURS)]


@dataclass(frozen=True, slots=True)
class Axis:
    """A labelled axis, its unit in the label. `categories`: texts at 0, 1, 2, …; `from_zero`: the axis shows 0."""

    label: str
    from_zero: bool = False
    categories: tuple[str, ...] = ()
    reversed: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Points (x, y), shape (n,), NaN where a line breaks. `style`: line, points, line+points, or bars that lie from 0 to x.

    `low`, `high`: 95 % intervals of y; `x_low`, `x_high` of x; empty where there are none. `notes`: a text per point.
    `listed`: whether the legend names it.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    style: str = "points"
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    x_low: np.ndarray | None = None
    x_high: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    dash: bool = False
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """A coloured piece of a ribbon from `x0` to `x1` at category `row`."""

    x0: float
    x1: float
    row: int
    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the panel at one value: of y, or of x where `upright`. `until` makes it a band up to there."""

    value: float
    label: str
    colour: str = QUIET
    upright: bool = False
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Heat:
    """Cells (rows, columns) by colour, NaN where there is nothing; `diverging` around 0. `marks`: a text for each cell."""

    values: np.ndarray
    unit: str
    diverging: bool = False
    marks: tuple[tuple[str, ...], ...] = ()

    @property
    def limits(self) -> tuple[float, float]:
        """Values of the palest and the strongest colour: from 0 up, or alike to both sides; noise shall not look like much."""
        largest = float(np.nanmax(np.abs(self.values))) if np.isfinite(self.values).any() else 1.0
        return (-max(largest, _LEAST), max(largest, _LEAST)) if self.diverging else (0.0, largest)


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes and what is drawn in it; `height` in pixels."""

    x: Axis
    y: Axis
    title: str = ""
    series: tuple[Series, ...] = ()
    rules: tuple[Rule, ...] = ()
    blocks: tuple[Block, ...] = ()
    heat: Heat | None = None
    height: int = 340


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels below each other; `name` is a file name, `note` says how to read it. `shared_x`: the panels have one x axis."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    simulated: bool
    note: str = ""
    shared_x: bool = False

    @property
    def heading(self) -> str:
        """The title, marked where a meter was simulated."""
        return f"{self.title} · simulated meter" if self.simulated else self.title


def columns_of(intervals: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, lower and upper ends of some intervals, each of shape (n,); an endless end is cut at the value."""
    value = np.array([item.value for item in intervals])
    low, high = np.array([item.low for item in intervals]), np.array([item.high for item in intervals])
    return value, np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value)
