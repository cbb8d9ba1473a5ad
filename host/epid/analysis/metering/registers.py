"""The energy registers as a function of time: joules between any two instants, and how well they are known.

The registers are the integral of power (0.1 % of reading, datasheet table 2) and know no averaging lag; the 24-bit power is only
the shape (0.5 % of full scale, an average over the recent past). They count in steps: a reading lies up to one step below the
truth, so a sum over windows is a weighted sum of readings whose weights say how much of the steps' error is left in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..timeline.timeline import MeterTrack, SpanTable, energy_faults
from .shape import Shape, fit_shape
from .steps import correlation, sum_variance

OUTSIDE = "the meter's record does not cover it"
RESTARTED = "the meter restarted inside it"
LOST = "the meter lost an energy reading inside it"

UNEVEN = 0.1
"""How unevenly power is taken to flow within an interval between two samples, relative, where the trace cannot tell."""


_STEPS_TO_SMOOTH = 40
_MOST_UNEVEN = 0.5


@dataclass(frozen=True, slots=True)
class Delay:
    """How much later than P's stamp the energy registers stand for: seconds, with a standard deviation."""

    seconds: float
    sd: float


def reading_delay(channel: int) -> Delay:
    """The firmware reads P of all channels first and then channel after channel, 4 to 5 ms each; a sample stamps P alone."""
    return Delay(0.0015 + 0.004 * channel, 0.0006 + 0.001 * channel)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Joules of `n` windows: `joules` (n,), NaN where a fault code (n,) in `fault` is not empty.

    `step_sd`, `gaps_sd`, `slope_w`: of the sum over all windows without a fault; `slope_w` is the change of the sum with a common
    shift of the windows, J/s, to either side the worse one.
    """

    joules: np.ndarray
    fault: np.ndarray
    step_sd: float
    gaps_sd: float
    slope_w: float


@dataclass(frozen=True, slots=True)
class Registers:
    """Readings that can be trusted: `at_ns` int64 and `joules`, both (n,); see `registers_of`."""

    at_ns: np.ndarray
    joules: np.ndarray
    segment: np.ndarray
    faults: np.ndarray
    quantum_j: float
    bound_ns: float
    delay: Delay
    shape: Shape
    uneven: float

    def draw(self, begin_ns: np.ndarray, end_ns: np.ndarray) -> Drawn:
        """Joules of each window; see Drawn."""
        fault = self._fault(begin_ns, end_ns)
        sound = fault == ""
        if not sound.any():
            return Drawn(np.full(len(fault), np.nan), fault, np.nan, np.nan, np.nan)
        low, high = self._edges(begin_ns[sound]), self._edges(end_ns[sound])
        joules = np.full(len(fault), np.nan)
        joules[sound] = high.joules - low.joules
        weights = np.zeros(len(self.at_ns))
        for edges, sign in ((low, -1.0), (high, 1.0)):
            weights += np.bincount(edges.first, sign * (1 - edges.share), len(weights))
            weights += np.bincount(edges.first + 1, sign * edges.share, len(weights))
        step_sd = np.sqrt(sum_variance(weights, self.shape.at(self.at_ns), self.quantum_j, self.uneven))
        uneven = self._uneven_inside(low, high)
        gaps_sd = np.sqrt(_uneven_j2(low, uneven) + _uneven_j2(high, uneven))
        return Drawn(joules, fault, float(step_sd), float(gaps_sd), self._slope_w(begin_ns[sound], end_ns[sound]))

    def smoothed(self) -> Registers:
        """The same with the steps averaged out over some dozens of them: for windows that are shorter than a step is.

        Twice over, because steps that come almost in time with the samples beat slowly.
        """
        rest = self.joules - self.shape.at(self.at_ns)
        rate = (self.joules[-1] - self.joules[0]) / max(1, len(self.joules) - 1) if len(self.joules) else 0.0
        width = min(len(rest), max(1, round(_STEPS_TO_SMOOTH * self.quantum_j / rate)) if rate > 0 else 1)
        if width < 2:
            return self
        for _pass in range(2):
            rest = _running_mean(rest, width)
        return replace(self, joules=self.shape.at(self.at_ns) + rest)

    def _fault(self, begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
        fault = np.full(len(begin_ns), "", dtype=object)
        if len(self.at_ns) < 2:
            fault[:] = OUTSIDE
            return fault
        outside = (begin_ns < self.at_ns[0]) | (end_ns > self.at_ns[-1])
        first = np.clip(np.searchsorted(self.at_ns, begin_ns, side="right") - 1, 0, len(self.at_ns) - 1)
        last = np.clip(np.searchsorted(self.at_ns, end_ns, side="left"), 0, len(self.at_ns) - 1)
        lost = np.cumsum(self.faults)
        fault[lost[last] > lost[first]] = LOST
        fault[self.segment[first] != self.segment[last]] = RESTARTED
        fault[outside] = OUTSIDE
        return fault

    def _edges(self, at_ns: np.ndarray) -> _Edges:
        first = np.clip(np.searchsorted(self.at_ns, at_ns, side="right") - 1, 0, len(self.at_ns) - 2)
        before, after = self.shape.at(self.at_ns[first]), self.shape.at(self.at_ns[first + 1])
        span_ns = (self.at_ns[first + 1] - self.at_ns[first]).astype(np.float64)
        by_time = (at_ns - self.at_ns[first]) / span_ns
        rise = after - before
        share = np.where(rise > 0, (self.shape.at(at_ns) - before) / np.where(rise > 0, rise, 1), by_time)
        share = np.clip(share, 0, 1)
        step_j = self.joules[first + 1] - self.joules[first]
        return _Edges(first, share, self.joules[first] + share * step_j, rise)

    def _uneven_inside(self, low: _Edges, high: _Edges) -> float:
        """How unevenly power flows within the windows, by the registers: what their increments scatter by beyond their steps.

        P averages over several intervals, so what it shows is the least there is. A phase whose halves of a layer draw different
        powers is as uneven at its edges as it is inside.
        """
        n = len(self.at_ns)
        whole = np.cumsum(np.bincount(low.first + 1, minlength=n + 1) - np.bincount(high.first, minlength=n + 1))[: n - 1] > 0
        if not whole.any():
            return self.uneven
        expected = np.diff(self.shape.at(self.at_ns))[whole]
        beyond = np.diff(self.joules)[whole] - expected
        steps = self.quantum_j**2 / 6 * (1 - correlation(expected / self.quantum_j, np.zeros(len(expected))))
        excess = float(np.mean(beyond**2 - steps) / max(float(np.mean(expected**2)), 1e-12))
        return float(np.sqrt(np.clip(excess, self.uneven**2, _MOST_UNEVEN**2)))

    def _slope_w(self, begin_ns: np.ndarray, end_ns: np.ndarray) -> float:
        """The expected course of power knows no steps, so it says best what a shift of all edges does."""
        shift = np.int64(1_000_000)
        moved = [
            (self.shape.at(end_ns + by) - self.shape.at(begin_ns + by)).sum()
            - (self.shape.at(end_ns) - self.shape.at(begin_ns)).sum()
            for by in (-shift, shift)
        ]
        return float(max(abs(value) for value in moved) * 1e3)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Instants between samples `first` and `first + 1`: `share` of what was counted between them, `expected_j` of it in all."""

    first: np.ndarray
    share: np.ndarray
    joules: np.ndarray
    expected_j: np.ndarray


def registers_of(track: MeterTrack, spans: SpanTable, delay: Delay | None = None) -> Registers:
    """Put the counter on the time it stands for, and fit the expected course of power that splits its increments."""
    delay = delay or reading_delay(track.channel)
    known = np.isfinite(track.energy_j)
    at_ns = track.host_ns[known] + np.int64(round(delay.seconds * 1e9))
    faults = np.add.reduceat(energy_faults(track), _groups(known)) if known.any() else np.zeros(0)
    shape = fit_shape(track, spans)
    return Registers(
        at_ns=at_ns,
        joules=track.energy_j[known],
        segment=track.segment[known],
        faults=faults.astype(np.int64),
        quantum_j=track.quantum_j,
        bound_ns=float(track.bound_ns.max()) + spans.bound_ns if len(track) else 0.0,
        delay=delay,
        shape=shape,
        uneven=_uneven(track, shape),
    )


def _groups(known: np.ndarray) -> np.ndarray:
    """Start of the run of samples that ends with each known one: a fault in a sample without a reading counts for the next."""
    at = np.flatnonzero(known)
    return np.concatenate([[0], at[:-1] + 1])


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over `width` neighbours, over fewer at the ends."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - width // 2, 0), np.minimum(at + width // 2 + 1, len(values))
    return np.asarray((running[last] - running[first]) / (last - first))


def _uneven_j2(edges: _Edges, uneven: float) -> float:
    inner = uneven * edges.expected_j
    return float((inner**2 * edges.share * (1 - edges.share)).sum())


def _uneven(track: MeterTrack, shape: Shape) -> float:
    """Relative scatter of the power readings about the expected course, by the median, so that edges do not count."""
    expected = shape.watts_at(track.host_ns)
    usable = np.isfinite(track.p_w) & (expected > 0)
    if usable.sum() < 20:
        return UNEVEN
    return float(min(_MOST_UNEVEN, 1.4826 * np.median(np.abs(track.p_w[usable] / expected[usable] - 1))) or UNEVEN)
