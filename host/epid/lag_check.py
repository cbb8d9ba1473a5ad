"""An outside instrument's marks against the spans of a load pattern, and against what the energy registers say.

The registers say how late the load follows its spans; so does the instrument, without the meter, its clock or its driver. Where
the two agree, every link between them is as good as the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .analysis.lag.lag import LONGEST_LAG_S, LagFit
from .analysis.lag.load_pattern import LoadPattern
from .errors import RunFileError
from .marks import Mark

FEWEST_MARKS = 20
_EARLIEST_S = -0.1
_BIN_S = 0.01
_REACH_S = 0.02
"""Less than half of the shortest span of a pattern: no mark can belong to two edges."""

_MEDIAN_SIGMAS = 1.96 * math.sqrt(math.pi / 2)


@dataclass(frozen=True, slots=True)
class LagCheck:
    """How long after its span an instrument saw the load step: `delay_s` ± `within_s` (95 %), the clocks' bound included.

    `matched` of the `marks` inside the pattern belong to one of its `edges`. `apart_s`: by how much the energy registers say
    otherwise, NaN where they cannot say; `agrees`: within the intervals of both, None where that is not known.
    """

    delay_s: float
    within_s: float
    matched: int
    marks: int
    edges: int
    apart_s: float
    agrees: bool | None

    def to_map(self) -> dict[str, Any]:
        """As JSON holds it; None for what is not known."""
        return asdict(self) | {"apart_s": None if math.isnan(self.apart_s) else self.apart_s}


def check_lag(fit: LagFit, marks: Sequence[Mark], clocks_s: float) -> LagCheck:
    """Hold marks against a fitted run whose clocks are known within `clocks_s`; RunFileError where they are not of this run."""
    edges = [_edges(fit.patterns, level) for level in (0, 1)]
    seen = [_inside(fit.patterns, marks, level) for level in (0, 1)]
    n_marks, n_edges = sum(map(len, seen)), sum(map(len, edges))
    guess_s = _commonest(edges, seen)
    delays_s = np.concatenate([_matched(edges[level], seen[level], guess_s) for level in (0, 1)])
    if len(delays_s) < max(FEWEST_MARKS, 0.5 * n_marks):
        raise RunFileError(
            f"only {len(delays_s)} of {n_marks} marks fit the {n_edges} steps of the load pattern: are they of this run, and "
            "stamped with the daemon's CLOCK_MONOTONIC_RAW?"
        )
    delay_s = float(np.median(delays_s))
    scatter_s = 1.4826 * float(np.median(np.abs(delays_s - delay_s)))
    within_s = _MEDIAN_SIGMAS * scatter_s / math.sqrt(len(delays_s)) + clocks_s
    apart_s = delay_s - fit.load.value
    agrees = None if math.isnan(apart_s) else abs(apart_s) <= math.hypot(within_s, fit.load.within)
    return LagCheck(delay_s, within_s, len(delays_s), n_marks, n_edges, apart_s, agrees)


def _edges(patterns: Sequence[LoadPattern], level: int) -> np.ndarray:
    """Host times (n,), ns, at which the pattern steps to `level`."""
    steps = []
    for pattern in patterns:
        before = np.append(0.0, pattern.level[:-1])
        steps.append(pattern.edges_ns[:-1][(pattern.level != before) & (pattern.level == level)])
    return np.concatenate(steps)


def _inside(patterns: Sequence[LoadPattern], marks: Sequence[Mark], level: int) -> np.ndarray:
    """Host times (n,), ns, of the marks of one level that fall into a pattern."""
    times = np.array([mark.host_ns for mark in marks if mark.level == level], dtype=np.int64)
    late_ns = int(LONGEST_LAG_S * 1e9)
    inside = [(times >= pattern.edges_ns[0]) & (times <= pattern.edges_ns[-1] + late_ns) for pattern in patterns]
    return times[np.any(inside, axis=0)]


def _commonest(edges: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> float:
    """The delay, seconds, that most pairs of a mark and an edge of its direction have in common."""
    bins = np.arange(_EARLIEST_S, LONGEST_LAG_S, _BIN_S)
    counts = np.zeros(len(bins) - 1)
    for level in (0, 1):
        apart_s = (seen[level][:, None] - edges[level][None, :]).ravel() / 1e9
        counts += np.histogram(apart_s, bins)[0]
    smooth = np.convolve(counts, np.ones(3), "same")  # a delay at the border of two bins belongs to both
    return float(bins[int(np.argmax(smooth))] + _BIN_S / 2)


def _matched(edges_ns: np.ndarray, seen_ns: np.ndarray, guess_s: float) -> np.ndarray:
    """Delay, seconds, of each mark behind the edge that it belongs to; marks that belong to none are left out."""
    if not len(edges_ns) or not len(seen_ns):
        return np.zeros(0)
    apart_s = (seen_ns[:, None] - edges_ns[None, :]) / 1e9
    nearest = apart_s[np.arange(len(seen_ns)), np.abs(apart_s - guess_s).argmin(axis=1)]
    return nearest[np.abs(nearest - guess_s) <= _REACH_S]
