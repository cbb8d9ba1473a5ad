"""Joules inside a window of host time, straight from the meter's energy registers, with a worst-case bound.

The registers are the integral (0.1 % of reading, datasheet table 2) and know no averaging lag; the 24-bit power is only the
shape (0.5 % of full scale, and an average over the recent past). So windows are taken from the registers, and the integral of
the power stands beside them as a check of health.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..timeline.timeline import MeterTrack, energy_faults


@dataclass(frozen=True, slots=True)
class Window:
    """An interval of host time."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules in some windows.

    `within_j` is a worst case: a step of the registers at every edge, and the clock's bound times the power.

    `joules` is NaN where the meter did not cover the windows, rebooted or lost a reading inside; `fault` then says which.
    """

    joules: float
    within_j: float
    seconds: float
    fault: str = ""


def energy_in(track: MeterTrack, windows: Sequence[Window]) -> Energy:
    """Return the metered energy of all `windows` together."""
    seconds = sum(window.seconds for window in windows)
    faults = [fault for window in windows if (fault := fault_in(track, window))]
    if faults or not windows:
        return Energy(np.nan, np.nan, seconds, faults[0] if faults else "there is no such window")
    edges_ns = np.array([[window.begin_ns, window.end_ns] for window in windows], dtype=np.int64)
    joules = float(np.diff(_counter_at(track, edges_ns), axis=1).sum())
    mean_w = joules / seconds if seconds else 0.0
    edge_j = track.quantum_j + 2 * abs(mean_w) * _bound_s(track, windows)
    return Energy(joules, len(windows) * edge_j, seconds)


def chains_ratio(track: MeterTrack, window: Window) -> float:
    """Energy by the registers over the integral of the power, over a window: 1 where both chains of the chip agree.

    NaN where the power has gaps in the window or nothing flowed.
    """
    mine = (track.host_ns >= window.begin_ns) & (track.host_ns <= window.end_ns)
    if mine.sum() < 2 or not np.isfinite(track.p_w[mine]).all() or track.lost[mine][1:].any():
        return float("nan")
    t_s, p_w = (track.host_ns[mine] - track.host_ns[mine][0]) / 1e9, track.p_w[mine]
    integral_j = float(np.sum((p_w[1:] + p_w[:-1]) / 2 * np.diff(t_s)))
    counted_j = float(track.energy_j[mine][-1] - track.energy_j[mine][0])
    return counted_j / integral_j if integral_j > 0 else float("nan")


def fault_in(track: MeterTrack, window: Window) -> str:
    """Return why the energy of this window cannot be told, or an empty string."""
    if not len(track) or window.begin_ns < track.host_ns[0] or window.end_ns > track.host_ns[-1]:
        return "the meter's record does not cover it"
    first = int(np.searchsorted(track.host_ns, window.begin_ns, side="right")) - 1
    last = int(np.searchsorted(track.host_ns, window.end_ns, side="left"))
    if track.segment[first] != track.segment[last]:
        return "the meter restarted inside it"
    if energy_faults(track)[first + 1 : last + 1].any():
        return "the meter lost an energy reading inside it"
    return ""


def _counter_at(track: MeterTrack, at_ns: np.ndarray) -> np.ndarray:
    """The energy counter at instants between samples; the truth lies half a step above what has been counted, on average."""
    known = np.isfinite(track.energy_j)
    base_ns = track.host_ns[0]
    x = (track.host_ns[known] - base_ns).astype(np.float64)
    return np.interp((at_ns - base_ns).astype(np.float64), x, track.energy_j[known])


def _bound_s(track: MeterTrack, windows: Sequence[Window]) -> float:
    first, last = min(w.begin_ns for w in windows), max(w.end_ns for w in windows)
    mine = (track.host_ns >= first) & (track.host_ns <= last)
    return float(track.bound_ns[mine].max()) / 1e9 if mine.any() else 0.0
