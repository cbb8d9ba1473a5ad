"""The lag of the meter's power readings: how long ago, and over how long, was the power that a reading stands for?

The datasheet does not say how long the ATM90E26 averages P, nor how old the average is when it is read. The runner's load
pattern tells: it is known when the cores burnt and when they rested. Three figures come of it, each on its own:

    total       readings of P against the pattern: what the analysis has to know
    registers   readings of P against the energy registers, which do not lag: the chip alone, whatever the load did
    load        the energy registers against the pattern: how late the load itself follows (processor, supply)

total = registers + load within their errors, or the figures are not to be trusted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..timeline.run import Run
from ..timeline.timeline import MeterTrack, SpanTable, span_table
from .fir_fit import Boxcar, Burnt, Readings, Response, fit_boxcar, fit_response
from .lag_file import Lag, stored_lag
from .load_pattern import LoadPattern, load_patterns
from .register_lag import delay_behind_registers, delay_of_load, stretches
from .shift_fit import Estimate

__all__ = ["Lag", "LagFit", "find_lag", "lag_of"]

LONGEST_LAG_S = 1.2
"""Longest lag that is looked for; readings closer to a pattern's begin than this are not used."""

FEWEST_READINGS = 100

CLEARLY_BETTER = 0.9
"""The free response is taken where it leaves less than this share of the boxcar's error."""


@dataclass(frozen=True, slots=True)
class LagFit:
    """A lag with all that speaks for it.

    `boxcar`: two numbers, a window and its delay. `response`: a free averaging FIR, non-negative, of sum 1. `shape` names the
    one that was taken: the free one only where it predicts left-out readings clearly better. `registers`: the delay by the
    energy registers alone; `load`: how late they follow the pattern; NaN where a reading was missing. `closure`:
    total - registers - load, which is 0 within its error where all is well. `readings`: how many readings of P took part.
    """

    lag: Lag
    shape: str
    boxcar: Boxcar
    response: Response
    registers: Estimate
    load: Estimate
    closure: Estimate
    readings: int
    patterns: tuple[LoadPattern, ...]

    @property
    def pattern_s(self) -> float:
        """Seconds of load pattern."""
        return sum(pattern.seconds for pattern in self.patterns)

    @property
    def closes(self) -> bool | None:
        """Whether the two ways to the lag agree; None where the registers could not tell."""
        return None if math.isnan(self.closure.value) else abs(self.closure.value) <= self.closure.within

    def to_map(self) -> dict[str, Any]:
        """The fit as JSON holds it; seconds and watts, None for what is not known."""
        lag = self.lag
        return {
            "delay_s": lag.delay_s,
            "window_s": lag.window_s,
            "centre_s": lag.centre_s,
            "within_s": lag.within_s,
            "load_s": _known(lag.load_s),
            "shape": self.shape,
            "boxcar": asdict(self.boxcar),
            "fir": self.response.to_map(),
            "registers": {"delay_s": _known(self.registers.value), "within_s": _known(self.registers.within)},
            "load": {"delay_s": _known(self.load.value), "within_s": _known(self.load.within)},
            "closure": {"apart_s": _known(self.closure.value), "within_s": _known(self.closure.within), "closes": self.closes},
            "readings": self.readings,
            "pattern_s": self.pattern_s,
        }


def lag_of(run: Run, track: MeterTrack) -> Lag | None:
    """Return the lag of this channel's power: from the file beside the run, else from the run's load pattern, else None."""
    stored = stored_lag(run, track)
    if stored is not None:
        return stored
    fit = find_lag(track, span_table(run.node))
    return None if fit is None else fit.lag


def find_lag(track: MeterTrack, spans: SpanTable) -> LagFit | None:
    """Fit the lag of P to the load patterns of a run; None where there is no pattern, or too little of one was metered."""
    patterns = load_patterns(spans)
    base_ns = int(track.host_ns[0])
    readings = _readings(track, patterns, base_ns)
    if len(readings.at_s) < FEWEST_READINGS or not np.ptp(readings.p_w):  # a channel that never changed metered nothing
        return None
    burnt = _burnt(patterns, base_ns)
    boxcar = fit_boxcar(readings, burnt)
    response = fit_response(readings, burnt, boxcar)
    free = response.miss_w < boxcar.miss_w * CLEARLY_BETTER
    best = response.as_boxcar() if free else boxcar
    parts = stretches(track, patterns, base_ns)
    registers = delay_behind_registers(parts, boxcar.window_s, LONGEST_LAG_S)
    load = delay_of_load(parts, burnt, LONGEST_LAG_S)
    clocks_s = (float(track.bound_ns.max()) + spans.bound_ns) / 1e9
    apart_s = boxcar.delay_s - registers.value - load.value
    tolerance_s = math.hypot(boxcar.within_s, registers.within, load.within)
    lag = Lag(best.delay_s, best.window_s, math.hypot(best.within_s, clocks_s), load.value)
    return LagFit(
        lag=lag,
        shape="response" if free else "boxcar",
        boxcar=boxcar,
        response=response,
        registers=registers,
        load=load,
        closure=Estimate(apart_s, tolerance_s),
        readings=len(readings.at_s),
        patterns=tuple(patterns),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _readings(track: MeterTrack, patterns: list[LoadPattern], base_ns: int) -> Readings:
    """Readings whose whole history, as far back as a lag may reach, lies inside one pattern."""
    at_s, p_w, part = [], [], []
    for number, pattern in enumerate(patterns):
        first_ns = pattern.edges_ns[0] + int(LONGEST_LAG_S * 1e9)
        mine = (track.host_ns >= first_ns) & (track.host_ns <= pattern.edges_ns[-1]) & np.isfinite(track.p_w)
        at_s.append((track.host_ns[mine] - base_ns) / 1e9)
        p_w.append(track.p_w[mine])
        part.append(np.full(int(mine.sum()), number))
    if not patterns:
        return Readings(np.zeros(0), np.zeros(0), np.zeros(0))
    return Readings(np.concatenate(at_s), np.concatenate(p_w), np.concatenate(part))


def _burnt(patterns: list[LoadPattern], base_ns: int) -> Burnt:
    return lambda at_s: np.sum([pattern.burnt_s(at_s, base_ns) for pattern in patterns], axis=0)
