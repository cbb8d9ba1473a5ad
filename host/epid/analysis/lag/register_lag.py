"""The energy registers as a reference that does not lag: the delay of P against them, and of them against the load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..timeline.timeline import MeterTrack, energy_faults
from .fir_fit import Burnt, levels
from .load_pattern import LoadPattern
from .shift_fit import UNKNOWN, Estimate, Signal, fit_shift, jackknife_within, shift_errors

FEWEST_STEPS = 2
"""An averaging window must be so many sampling periods long, for the integral of P to be told from its readings."""

FEWEST_READINGS = 100

_REACH = (0.05,)
_DELAYS = np.arange(-0.1, 0.8, 0.03)[:, None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Both chains of the chip over one load pattern, shape (n,): seconds, integral of P, and counted energy, in joules."""

    at_s: np.ndarray
    from_power_j: np.ndarray
    counted_j: np.ndarray

    def power_j(self, at_s: np.ndarray) -> np.ndarray:
        """The integral of P up to each instant."""
        return np.interp(at_s, self.at_s, self.from_power_j)

    def smoothed_j(self, at_s: np.ndarray, window_s: float) -> np.ndarray:
        """Mean of the counted energy over the window that ends at each instant."""
        area = _integral(self.at_s, self.counted_j)
        return (np.interp(at_s, self.at_s, area) - np.interp(at_s - window_s, self.at_s, area)) / window_s


def stretches(track: MeterTrack, patterns: list[LoadPattern], base_ns: int) -> list[Stretch]:
    """Return both chains over each pattern; empty where a reading is missing in one."""
    faulty, found = energy_faults(track), []
    for pattern in patterns:
        mine = (track.host_ns >= pattern.edges_ns[0]) & (track.host_ns <= pattern.edges_ns[-1])
        at_s, p_w, counted_j = (track.host_ns[mine] - base_ns) / 1e9, track.p_w[mine], track.energy_j[mine]
        whole = np.isfinite(p_w).all() and np.isfinite(counted_j).all() and not track.lost[mine][1:].any()
        if not whole or faulty[mine][1:].any() or len(at_s) < 2:
            return []
        found.append(Stretch(at_s, _integral(at_s, p_w), counted_j - counted_j[0]))
    return found


def delay_behind_registers(parts: list[Stretch], window_s: float, margin_s: float) -> Estimate:
    """Return how old the end of the averaging window is when P is read, by the registers alone.

    The registers, averaged over the same window, are the integral of P shifted by that delay: y(t) = Q(t + delay). The noisy
    side is the one that is explained, so that its steps do not bias the answer. Unknown where the window is so short that
    readings of P do not add up to its integral.
    """
    if not parts or window_s < FEWEST_STEPS * _step_s(parts):
        return UNKNOWN
    inner = [part.at_s[(part.at_s > part.at_s[0] + margin_s) & (part.at_s < part.at_s[-1] - margin_s)] for part in parts]
    y = np.concatenate([part.smoothed_j(at, window_s) for part, at in zip(parts, inner, strict=True)])

    def signal(theta: np.ndarray) -> np.ndarray:
        return np.concatenate([part.power_j(at + theta[0]) for part, at in zip(parts, inner, strict=True)])

    return _shift(y, inner, signal)


def delay_of_load(parts: list[Stretch], burnt: Burnt, margin_s: float) -> Estimate:
    """Return how late the counted energy follows the pattern: E(t) = rest * t + swing * burnt(t - delay)."""
    if not parts:
        return UNKNOWN
    keep = [part.at_s > part.at_s[0] + margin_s for part in parts]
    inner = [part.at_s[mine] for part, mine in zip(parts, keep, strict=True)]
    y = np.concatenate([part.counted_j[mine] for part, mine in zip(parts, keep, strict=True)])
    at_s = np.concatenate(inner)
    return _shift(y, inner, lambda theta: burnt(at_s - theta[0]))


def _shift(y: np.ndarray, inner: list[np.ndarray], signal: Signal) -> Estimate:
    at_s = np.concatenate(inner)
    if len(at_s) < FEWEST_READINGS:
        return UNKNOWN
    nuisance = levels(at_s, np.repeat(np.arange(len(inner)), [len(at) for at in inner]))
    best = fit_shift(y, nuisance, signal, _DELAYS, _REACH)
    return Estimate(float(best[0]), jackknife_within(shift_errors(y, nuisance, signal, best, _REACH)[:, 0]))


def _step_s(parts: list[Stretch]) -> float:
    return float(np.median(np.concatenate([np.diff(part.at_s) for part in parts])))


def _integral(at_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Running integral by trapezoids, shape (n,), 0 at the first instant."""
    return np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(at_s))])
