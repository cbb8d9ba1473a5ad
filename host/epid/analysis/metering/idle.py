"""Watts of a node on which nothing runs, from the energy registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..interval import Interval
from ..timeline.timeline import MeterTrack
from .energy import Window, fault_in

SETTLE_NS = 700_000_000
"""Cut from both ends of an idle window: the processor's clock and the supply's capacitors take time to come to rest."""

_LAGS_S = (0.5, 1.0, 2.0, 4.0)
"""Over these times the power's sums are looked at, to see how much it wanders."""


_HARMONICS = 12
_AWAY_W = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""The steps' error is looked at for powers about the one found: it changes quickly with the power."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power while nothing ran: `watts` with its standard error `sem_w`, over `seconds`; NaN where there was no idle.

    `before_w`, `after_w`: of the first and the last window alone, NaN where there is only one.
    """

    watts: float
    sem_w: float
    seconds: float
    before_w: float = float("nan")
    after_w: float = float("nan")

    @property
    def interval(self) -> Interval:
        """95 % interval of `watts`, the meter's gain left out."""
        return Interval.normal(self.watts, self.sem_w) if self.seconds else Interval.missing("no idle was measured in this run")


@dataclass(frozen=True, slots=True)
class _Slope:
    watts: float
    variance: float
    seconds: float


def idle_power(track: MeterTrack, windows: Sequence[Window]) -> Idle:
    """Return the mean power over the idle `windows`: the slope of the counter in each, weighted by its length.

    The counter's steps are small against a window and fall anywhere between samples, so a straight line through them resolves
    far less than one step.
    """
    slopes = [slope for window in windows if (slope := _slope(track, window)) is not None]
    if not slopes:
        return Idle(np.nan, np.nan, 0.0)
    seconds = sum(slope.seconds for slope in slopes)
    watts = sum(slope.watts * slope.seconds for slope in slopes) / seconds
    variance = sum(slope.variance * slope.seconds**2 for slope in slopes) / seconds**2
    ends = (slopes[0].watts, slopes[-1].watts) if len(slopes) > 1 else (np.nan, np.nan)
    return Idle(watts, float(np.sqrt(variance)), seconds, *ends)


def _slope(track: MeterTrack, window: Window) -> _Slope | None:
    inner = Window(window.begin_ns + SETTLE_NS, window.end_ns - SETTLE_NS)
    mine = (track.host_ns >= inner.begin_ns) & (track.host_ns <= inner.end_ns) & np.isfinite(track.energy_j)
    if mine.sum() < 3 or fault_in(track, inner):
        return None
    t_s, counted_j = (track.host_ns[mine] - inner.begin_ns) / 1e9, track.energy_j[mine]
    t_s, counted_j = t_s - t_s.mean(), counted_j - counted_j.mean()
    watts = float(t_s @ counted_j / (t_s @ t_s))
    steps = max(_step_variance(t_s, watts + away, track.quantum_j) for away in _AWAY_W)
    # A line and the mean over the inner window differ by a fifth of the wandering, the inner window and the whole by the rest.
    share = 1 / 5 + 1 - inner.seconds / window.seconds
    return _Slope(watts, steps + _wander_j2_per_s(track, mine) * share / inner.seconds, inner.seconds)


def _step_variance(t_s: np.ndarray, watts: float, quantum_j: float) -> float:
    """Variance of a line's slope through a counter that counts in steps, with the steps' phase drawn at random.

    The steps' error is a sawtooth of the counted energy: its Fourier series, each term weighed as the slope weighs it. Where
    steps come almost in time with the samples, little of it averages out.
    """
    weights = t_s / float(t_s @ t_s)
    harmonics = np.arange(1, _HARMONICS + 1)
    turns = np.exp(2j * np.pi * np.outer(harmonics, watts * t_s / quantum_j))
    return float(quantum_j**2 * (np.abs(turns @ weights) ** 2 / (2 * np.pi**2 * harmonics**2)).sum())


def _wander_j2_per_s(track: MeterTrack, mine: np.ndarray) -> float:
    """Growth of the energy's variance, per second, that a wandering power makes, by the readings of P; 0 where they are missing.

    Sums over some time, less that time's share of the whole, scatter by the growth times time times (1 - time / whole).
    """
    p_w, t_s = track.p_w[mine], track.host_ns[mine] / 1e9
    if not np.isfinite(p_w).all():
        return 0.0
    step_s = float(t_s[-1] - t_s[0]) / (len(t_s) - 1)
    running = np.concatenate([[0.0], np.cumsum(p_w - p_w.mean()) * step_s])
    rates = []
    for over_s in _LAGS_S:
        away = round(over_s / step_s)
        if 0 < away <= len(p_w) // 2:
            moved = running[away:] - running[:-away]
            rates.append(float(np.mean(moved**2)) / (away * step_s * (1 - away / len(p_w))))
    return max(rates, default=0.0)
