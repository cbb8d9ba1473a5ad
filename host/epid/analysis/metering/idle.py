"""Watts of a node on which nothing runs, from the energy registers, with the readings of P to say how it wandered.

What is wanted is the mean over the idle spans. A straight line through the counter resolves far less than one of its steps, but
weighs the middle of a window more than its ends, and a wandering power makes the two differ. So the wandering that P shows is
taken out of the counter first and its mean put back: P is a control variate, the level is the registers' alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..interval import Interval
from ..timeline.timeline import MeterTrack
from .energy import Window, fault_in
from .steps import line_variance

SETTLE_NS = 250_000_000
"""Cut from both ends of an idle window: the processor's clock and the supply's capacitors take so long to come to rest."""

_LAGS_S = (0.5, 1.0, 2.0, 4.0)
"""Over these times the power's sums are looked at, to see how much it wanders, where its readings do not say when."""

_AWAY_W = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""The steps' error is looked at for powers about the one found: it changes quickly with the power."""


@dataclass(frozen=True, slots=True)
class Averaging:
    """A reading of P is the mean over `window_s` seconds whose middle is `centre_s` old."""

    centre_s: float
    window_s: float


USUAL = Averaging(0.2, 0.5)
"""Taken where a run does not tell: only wandering within half a second of a window's end depends on it."""


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
class _Level:
    """Of one window: its mean power, that figure's variance, the variance of the power about it, and the window's length."""

    watts: float
    variance: float
    scatter: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Course:
    """Joules that the readings of P put between the first instant and each, (n,), and how P scatters: `scatter` is the variance
    of the power, `noise_j2_per_s` the growth of the variance of its sums that its readings' own noise makes."""

    running_j: np.ndarray
    scatter: float
    noise_j2_per_s: float


def idle_power(track: MeterTrack, windows: Sequence[Window], averaging: Averaging = USUAL) -> Idle:
    """Return the mean power over the idle `windows`, weighted by their lengths."""
    levels = [level for window in windows if (level := _level(track, window, averaging)) is not None]
    if not levels:
        return Idle(np.nan, np.nan, 0.0)
    seconds = sum(level.seconds for level in levels)
    watts = sum(level.watts * level.seconds for level in levels) / seconds
    variance = sum(level.variance * level.seconds**2 for level in levels) / seconds**2
    # Windows too short for a level of their own are taken to draw what the others do, give or take how those scatter.
    unseen_s = max(0.0, sum(window.seconds for window in windows) - seconds)
    scatter = sum((level.scatter + (level.watts - watts) ** 2) * level.seconds for level in levels) / seconds
    variance += scatter * (unseen_s / (seconds + unseen_s)) ** 2
    ends = (levels[0].watts, levels[-1].watts) if len(levels) > 1 else (np.nan, np.nan)
    return Idle(watts, float(np.sqrt(variance)), seconds, *ends)


def _level(track: MeterTrack, window: Window, averaging: Averaging) -> _Level | None:
    inner = Window(window.begin_ns + SETTLE_NS, window.end_ns - SETTLE_NS)
    mine = (track.host_ns >= inner.begin_ns) & (track.host_ns <= inner.end_ns) & np.isfinite(track.energy_j)
    if mine.sum() < 3 or fault_in(track, inner):
        return None
    t_s, counted_j = (track.host_ns[mine] - window.begin_ns) / 1e9, track.energy_j[mine]
    course = _course(track, window, t_s, averaging) or _unknown_course(track, mine, t_s)
    lasts_s = float(t_s[-1] - t_s[0])
    mean_w = float(course.running_j[-1]) / lasts_s
    centred_s, rest_j = t_s - t_s.mean(), counted_j - course.running_j
    watts = mean_w + float(centred_s @ rest_j / (centred_s @ centred_s))
    steps = max(line_variance(centred_s, watts + away, track.quantum_j) for away in _AWAY_W)
    # A line and the mean differ by a fifth of what P cannot say; what was cut off at either end has a mean of its own.
    cut_off = (1 - lasts_s / window.seconds) ** 2 * course.scatter / 2
    return _Level(watts, steps + course.noise_j2_per_s / 5 / lasts_s + cut_off, course.scatter, window.seconds)


def _course(track: MeterTrack, window: Window, t_s: np.ndarray, averaging: Averaging) -> _Course | None:
    """By the readings whose averaging lies inside the window; None where too few do, or some are missing."""
    of_s = (track.host_ns - window.begin_ns) / 1e9 - averaging.centre_s
    inside = (of_s >= averaging.window_s / 2) & (of_s <= window.seconds - averaging.window_s / 2)
    p_w = track.p_w[inside]
    if inside.sum() < 3 or not np.isfinite(p_w).all():
        return None
    at_w = np.interp(t_s, of_s[inside], p_w)
    running = np.concatenate([[0.0], np.cumsum((at_w[1:] + at_w[:-1]) / 2 * np.diff(t_s))])
    noise = float(np.mean(np.diff(p_w) ** 2)) / 2 * float(np.mean(np.diff(t_s)))
    return _Course(running, float(p_w.var(ddof=1)), noise)


def _unknown_course(track: MeterTrack, mine: np.ndarray, t_s: np.ndarray) -> _Course:
    """No course at all: the line must do alone, and all of the wandering counts."""
    p_w = track.p_w[mine]
    scatter = float(p_w.var(ddof=1)) if np.isfinite(p_w).all() else 0.0
    return _Course(np.zeros(len(t_s)), scatter, _wander_j2_per_s(track, mine))


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
