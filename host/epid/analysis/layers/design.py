"""The rows of the regression for layers: metered energy and power on one side, time of each layer on the other.

Layers of equal shape take equal time in every token, so watching them tells nothing about one of them. What tells them apart is
the random choice of the layer, or of the half of a layer, that is computed once more: the unit. The design therefore holds each
unit's ordinary time only as its constant share of all ordinary time, and its repeats where they really lay: estimates rest on the
random choice alone, and neither a jitter of times nor a unit's fixed place within the token can pass for knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from epi_protocol import events

from ..interval import SIGMAS
from ..lag.lag import Lag
from ..metering.occupancy import Occupancy
from ..metering.registers import Registers
from ..timeline.timeline import MeterTrack, SpanTable
from .units import Units, is_repeat

AGES_S = np.linspace(-0.05, 0.05, 5)
"""By how much older than the lag says P's readings may be: rows are drawn up for each of these."""

FEWEST_ROWS = 20
"""With fewer rows of a kind there is nothing to learn from them."""

INSIDE = 0.999
"""A row takes part where this share of its time was decoding."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind: `at_s`, `response` (n,), `seconds` (n, n_units + 2) of each unit, of the rest and once more of all
    repeats together, and `stretch` (n,), the number of the uninterrupted stretch of decoding that a row lies in.

    Registers: response in joules, between neighbouring samples. Power: response in joules too, P times its window; `ages` are
    `seconds` for each age in AGES_S, (ages, n, n_units + 2).
    """

    at_s: np.ndarray
    response: np.ndarray
    seconds: np.ndarray
    stretch: np.ndarray
    ages: np.ndarray | None = None

    @property
    def lasts_s(self) -> np.ndarray:
        """Length of each row, (n,)."""
        return np.asarray(self.seconds[:, :-1].sum(axis=1))

    def aged(self, weights: np.ndarray) -> Rows:
        """The rows as means over AGES_S with these weights (ages,)."""
        return self if self.ages is None else replace(self, seconds=np.tensordot(weights, self.ages, axes=1))


@dataclass(frozen=True, slots=True)
class LayerDesign:
    """Rows from the energy registers, and, where the meter's lag is known (`lag_sd_s`: how well), from P through its averaging
    window."""

    registers: Rows
    power: Rows | None
    lag_sd_s: float = float("nan")


def layer_design(
    registers: Registers,
    track: MeterTrack,
    spans: SpanTable,
    units: Units,
    lag: Lag | None,
    power_scale: float,
) -> LayerDesign:
    """Build the rows; `power_scale` brings P onto the registers' scale."""
    sample_ns = registers.at_ns
    windows = [] if lag is None else _windows(track, lag)
    grid_ns = np.unique(np.concatenate([sample_ns, *(edge for window in windows for edge in window)]))
    seconds = _on_grid(grid_ns, spans, units)
    running = np.concatenate([np.zeros((1, seconds.shape[1])), np.cumsum(seconds, axis=0)])
    base_ns = int(sample_ns[0])
    counted = _register_rows(registers, running[np.searchsorted(grid_ns, sample_ns)], base_ns)
    if lag is None:
        return LayerDesign(counted, None)
    inside = [running[np.searchsorted(grid_ns, end)] - running[np.searchsorted(grid_ns, begin)] for begin, end in windows]
    return LayerDesign(counted, _power_rows(track, inside, lag.window_s, base_ns, power_scale), lag.within_s / SIGMAS)


def _windows(track: MeterTrack, lag: Lag) -> list[tuple[np.ndarray, np.ndarray]]:
    """The interval over which each reading of P is a mean, in the time of the spans, for each of AGES_S."""
    ends = [track.host_ns - np.int64(round((lag.delay_s + age_s) * 1e9)) for age_s in AGES_S]
    return [(end_ns - np.int64(round(lag.window_s * 1e9)), end_ns) for end_ns in ends]


def _on_grid(grid_ns: np.ndarray, spans: SpanTable, units: Units) -> np.ndarray:
    """Seconds of each unit (its repeats, and its share of all ordinary time), of the rest of decoding, and of all repeats."""
    n = len(units)
    grid = Occupancy(grid_ns, n + 1)
    for columns in spans.chunks():
        kind = columns["kind"]
        repeated = (columns["phase"] == events.KIND["decode"]) & (columns["layer"] >= 0) & is_repeat(kind)
        _add(grid, columns, repeated, units.columns(kind[repeated], columns["layer"][repeated]))
        _add(grid, columns, kind == events.KIND["decode"], n)
    seconds = grid.seconds()
    repeats, again = seconds[:, :n], seconds[:, :n].sum(axis=1)
    ordinary = seconds[:, n] - again
    share = units.ordinary_s / max(ordinary.sum(), 1e-12)
    return np.column_stack([ordinary[:, None] * share + repeats, ordinary * max(1 - share.sum(), 0.0), again])


def _add(grid: Occupancy, columns: dict[str, np.ndarray], keep: np.ndarray, column: np.ndarray | int) -> None:
    found = np.flatnonzero(keep)
    begin_ns, end_ns = columns["begin_ns"][found], columns["end_ns"][found]
    grid.add(begin_ns, end_ns, np.broadcast_to(np.asarray(column, dtype=np.int64), begin_ns.shape))


def _register_rows(registers: Registers, running: np.ndarray, base_ns: int) -> Rows:
    step_s = np.diff(registers.at_ns) / 1e9
    seconds = np.diff(running, axis=0)
    keep = (seconds[:, :-1].sum(axis=1) >= INSIDE * step_s) & (step_s > 0)
    keep &= (registers.segment[1:] == registers.segment[:-1]) & (registers.faults[1:] == 0)
    at = np.flatnonzero(keep)
    stretch = np.cumsum(np.diff(at, prepend=-2) != 1)
    return Rows((registers.at_ns[at + 1] - base_ns) / 1e9, np.diff(registers.joules)[at], seconds[at], stretch)


def _power_rows(track: MeterTrack, inside: list[np.ndarray], window_s: float, base_ns: int, power_scale: float) -> Rows:
    decoding_s = np.min([seconds[:, :-1].sum(axis=1) for seconds in inside], axis=0)
    at = np.flatnonzero((decoding_s >= INSIDE * window_s) & np.isfinite(track.p_w))
    stretch = np.cumsum((np.diff(at, prepend=-2) != 1) | (track.lost[at] > 0))
    ages = np.stack([seconds[at] for seconds in inside])
    return Rows(
        at_s=(track.host_ns[at] - base_ns) / 1e9,
        response=track.p_w[at] * window_s * power_scale,
        seconds=ages[len(ages) // 2],
        stretch=stretch,
        ages=ages,
    )
