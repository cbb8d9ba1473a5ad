"""Two shapes of an averaging window, fitted to readings of a load that is known: a boxcar, and a free non-negative FIR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from .shift_fit import BLOCKS, Projected, blocks_of, fit_shift, jackknife_within, shift_errors

TAP_S = 0.02
"""Width of one tap of the free response."""

_TAILS_S = (0.1, 0.3)
"""How far the free response may reach beyond the boxcar. Non-negative taps cannot cancel: each one too many only gathers noise,
and pulls the mean lag upwards."""

SHORTEST_WINDOW_S = 0.005
_REACH = (0.06, 0.06)
_ROUGHNESS = (0.3, 3.0, 30.0)

Burnt = Callable[[np.ndarray], np.ndarray]
"""Seconds of burning up to each instant: the integral of the load pattern."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of P inside load patterns: `at_s` and `p_w` of shape (n,), `part`: which pattern each belongs to."""

    at_s: np.ndarray
    p_w: np.ndarray
    part: np.ndarray

    def levels(self) -> np.ndarray:
        """Nuisance terms (n, 2 * parts): a level and a slow drift for each pattern."""
        return levels(self.at_s, self.part)


@dataclass(frozen=True, slots=True)
class Boxcar:
    """P is a mean over `window_s` that ends `delay_s` ago. `within_s`: of its middle, 95 %. `miss_w`: rms error of left-out
    readings. `swing_w`: burning over resting."""

    delay_s: float
    window_s: float
    within_s: float
    window_within_s: float
    miss_w: float
    swing_w: float

    @property
    def centre_s(self) -> float:
        """Age of the middle of the window."""
        return self.delay_s + self.window_s / 2


@dataclass(frozen=True, slots=True)
class Response:
    """A free averaging window: `taps` (k,), non-negative, of sum 1, TAP_S wide each from lag 0 on."""

    taps: np.ndarray
    within_s: float
    miss_w: float
    swing_w: float

    @property
    def lags_s(self) -> np.ndarray:
        """Lag of the middle of each tap."""
        return (np.arange(len(self.taps)) + 0.5) * TAP_S

    @property
    def centre_s(self) -> float:
        """Mean lag."""
        return float(self.taps @ self.lags_s)

    def to_map(self) -> dict[str, Any]:
        """The taps and what they are worth, as JSON holds it."""
        figures = {"centre_s": self.centre_s, "within_s": self.within_s, "miss_w": self.miss_w}
        return {"tap_s": TAP_S, "taps": self.taps.tolist(), **figures}

    def as_boxcar(self) -> Boxcar:
        """The boxcar of the same mean and variance."""
        variance = float(self.taps @ (self.lags_s - self.centre_s) ** 2) + TAP_S**2 / 12
        window_s = (12 * variance) ** 0.5
        return Boxcar(self.centre_s - window_s / 2, window_s, self.within_s, float("nan"), self.miss_w, self.swing_w)


def levels(at_s: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A constant and a straight line for each part, shape (n, 2 * parts)."""
    columns = []
    for number in np.unique(part):
        mine = (part == number).astype(float)
        columns += [mine, mine * (at_s - at_s[part == number].mean())]
    return np.column_stack(columns)


def boxcar_signal(burnt: Burnt, at_s: np.ndarray, delay_s: float, window_s: float) -> np.ndarray:
    """Share of burning in the window that a reading at each instant stands for."""
    return (burnt(at_s - delay_s) - burnt(at_s - delay_s - window_s)) / window_s


def fit_boxcar(readings: Readings, burnt: Burnt) -> Boxcar:
    """Fit delay and window."""
    nuisance = readings.levels()

    def signal(theta: np.ndarray) -> np.ndarray:
        return boxcar_signal(burnt, readings.at_s, float(theta[0]), max(SHORTEST_WINDOW_S, float(theta[1])))

    starts = np.array([(delay, window) for delay in np.arange(0, 0.4, 0.03) for window in np.arange(0.02, 0.8, 0.04)])
    delay_s, window_s = best = fit_shift(readings.p_w, nuisance, signal, starts, _REACH)
    without = shift_errors(readings.p_w, nuisance, signal, best, _REACH)
    swing_w = Projected.of(readings.p_w, nuisance).scale(signal(best))
    miss_w = _miss(readings, lambda keep, block: signal(without[block]))
    window_s = max(SHORTEST_WINDOW_S, float(window_s))
    centre = jackknife_within(without @ np.array([1.0, 0.5]))
    return Boxcar(float(delay_s), window_s, centre, jackknife_within(without[:, 1]), miss_w, swing_w)


def fit_response(readings: Readings, burnt: Burnt, boxcar: Boxcar) -> Response:
    """Fit the free response; its length and how smooth it has to be are chosen by the error of left-out readings."""
    reach_s = boxcar.delay_s + boxcar.window_s
    tried = {math.ceil((reach_s + tail_s) / TAP_S): _columns(readings, burnt, reach_s + tail_s) for tail_s in _TAILS_S}
    candidates = [(_miss_of_taps(readings, tried[n], rough), n, rough) for n in tried for rough in _ROUGHNESS]
    miss_w, n_taps, rough = min(candidates)
    columns = tried[n_taps]
    block = blocks_of(len(readings.p_w))
    without = [_gains(readings, columns, block != left_out, rough) for left_out in range(BLOCKS)]
    gains = _gains(readings, columns, block >= 0, rough)
    within_s = jackknife_within(np.array([_mean_lag(each) for each in without]))
    total_w = float(gains.sum())
    return Response(gains / total_w if total_w > 0 else gains, within_s, miss_w, total_w)


def _columns(readings: Readings, burnt: Burnt, reach_s: float) -> np.ndarray:
    """Share of burning that each tap sees, shape (n, taps)."""
    at_s = readings.at_s[:, None] - np.arange(math.ceil(reach_s / TAP_S) + 1) * TAP_S
    return -np.diff(burnt(at_s.ravel()).reshape(at_s.shape), axis=1) / TAP_S


def _mean_lag(gains: np.ndarray) -> float:
    total_w = float(gains.sum())
    return float(gains @ (np.arange(len(gains)) + 0.5)) * TAP_S / total_w if total_w > 0 else math.nan


def _gains(readings: Readings, columns: np.ndarray, keep: np.ndarray, rough: float) -> np.ndarray:
    """Non-negative gains (k,) whose second differences are held small by `rough`."""
    model = Projected.of(readings.p_w[keep], readings.levels()[keep])
    bends = rough * np.diff(np.eye(columns.shape[1]), 2, axis=0)
    gains, _norm = nnls(np.vstack([model.clean(columns[keep]), bends]), np.append(model.rest, np.zeros(len(bends))))
    return np.asarray(gains)


def _miss_of_taps(readings: Readings, columns: np.ndarray, rough: float) -> float:
    return _miss(readings, lambda keep, _block: columns @ _gains(readings, columns, keep, rough))


def _miss(readings: Readings, signal_of: Callable[[np.ndarray, int], np.ndarray]) -> float:
    """Rms error of readings that a fit has not seen, each block of them in turn."""
    block, nuisance = blocks_of(len(readings.p_w)), readings.levels()
    missed = []
    for left_out in range(BLOCKS):
        keep = block != left_out
        design = np.column_stack([nuisance, signal_of(keep, left_out)])
        weights = np.linalg.lstsq(design[keep], readings.p_w[keep], rcond=None)[0]
        missed.append(readings.p_w[~keep] - design[~keep] @ weights)
    return float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))
