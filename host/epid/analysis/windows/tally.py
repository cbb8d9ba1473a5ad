"""Draws up what each kind of span consumed: the registers' joules, with every cause of doubt put into one interval."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from epi_protocol import events

from ..interval import SIGMAS, Interval
from ..metering.gain import Gain
from ..metering.idle import Idle
from ..metering.registers import Drawn, Registers
from ..timeline.timeline import SpanTable
from .consumption import Budget, Consumption

BOUND_SIGMAS = 2.576
"""A clock's bound holds for 99 of 100 instants."""

NO_IDLE = "no idle was measured in this run: joules net of idle cannot be told"


@dataclass(frozen=True, slots=True)
class Tally:
    """One run's registers with what is known of their gain and of the idle node."""

    registers: Registers
    gain: Gain
    idle: Idle

    def of(self, spans: SpanTable, kind: str) -> Consumption:
        """Return what the spans of one kind consumed; windows that the meter could not tell are left out and said."""
        found = spans.of_kind(events.KIND[kind])
        return self.of_windows(kind, found["begin_ns"], found["end_ns"], found["count"])

    def of_windows(self, kind: str, begin_ns: np.ndarray, end_ns: np.ndarray, count: np.ndarray) -> Consumption:
        """The same for windows of shape (n,), with the tokens in each."""
        drawn = self.registers.draw(begin_ns, end_ns)
        sound = np.isfinite(drawn.joules)
        lasts_s = (end_ns - begin_ns)[sound] / 1e9
        tokens, seconds, fault = int(count[sound].sum()), float(lasts_s.sum()), _fault(kind, drawn)
        if not sound.any():
            missing = Interval.missing(fault)
            return Consumption(kind, 0, 0, 0.0, missing, missing, missing, missing, None, self.idle.watts, fault)
        joules = float(drawn.joules[sound].sum())
        budget = self._budget(drawn, joules, seconds)
        net, net_sd = joules - self.idle.watts * seconds, self._net_sd(budget, joules, seconds)
        each = self._each(kind, drawn, begin_ns, end_ns)[sound]
        return Consumption(
            kind=kind,
            spans=int(sound.sum()),
            tokens=tokens,
            seconds=seconds,
            total=Interval.normal(joules, budget.sd),
            total_net=Interval.normal(net, net_sd) if np.isfinite(net) else Interval.missing(NO_IDLE),
            median=_median(each, budget.sd / joules if joules else 0.0),
            median_net=_net_median(each - self.idle.watts * lasts_s, net_sd / net if net else 0.0),
            budget=budget,
            idle_w=self.idle.watts,
            fault=fault,
            scatter=_scatter(drawn.joules[sound], count[sound]),
        )

    def _each(self, kind: str, drawn: Drawn, begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
        """Joules of the single windows; tokens are short against the registers' steps."""
        return self.registers.smoothed().draw(begin_ns, end_ns).joules if kind == "token" else drawn.joules

    def _budget(self, drawn: Drawn, joules: float, seconds: float) -> Budget:
        return Budget(
            gain=self.gain.sd * abs(joules),
            offset=self.gain.offset_sd_w * seconds,
            step=drawn.step_sd,
            clock=drawn.slope_w * self.registers.bound_ns / 1e9 / BOUND_SIGMAS,
            lag=drawn.slope_w * self.registers.delay.sd,
            gaps=drawn.gaps_sd,
        )

    def _net_sd(self, budget: Budget, joules: float, seconds: float) -> float:
        """The gain is common to the total and to idle, so what is left of it goes with the difference."""
        gain = self.gain.sd * abs(joules - self.idle.watts * seconds)
        offset = 0.0  # a constant error of power is in idle too
        rest = budget.step**2 + budget.clock**2 + budget.lag**2 + budget.gaps**2
        return float(np.sqrt(gain**2 + offset**2 + rest + (self.idle.sem_w * seconds) ** 2))


def _fault(kind: str, drawn: Drawn) -> str:
    """One phrase about the windows that the meter could not tell, the most frequent cause first."""
    if not len(drawn.fault):
        return "there is no such window"
    left_out = [str(fault) for fault in drawn.fault if fault]
    if not left_out:
        return ""
    cause = Counter(left_out).most_common(1)[0][0]
    return cause if len(left_out) == len(drawn.fault) else f"{len(left_out)} of {len(drawn.fault)} {kind} spans left out: {cause}"


def _scatter(joules: np.ndarray, tokens: np.ndarray) -> float:
    if len(joules) < 2 or not (tokens > 0).all():
        return float("nan")
    per_token = joules / tokens
    return float(per_token.std(ddof=1) / per_token.mean())


def _median(each: np.ndarray, relative_sd: float) -> Interval:
    """Median with the interval of its order statistics, widened by how well the joules as a whole are known."""
    value = float(np.median(each))
    half = SIGMAS / 2 * np.sqrt(len(each))
    ordered = np.sort(each)
    low = ordered[max(0, int(np.floor(len(each) / 2 - half)))]
    high = ordered[min(len(each) - 1, int(np.ceil(len(each) / 2 + half)))]
    common = SIGMAS * abs(value) * relative_sd
    return Interval(value, value - float(np.hypot(value - low, common)), value + float(np.hypot(high - value, common)))


def _net_median(each: np.ndarray, relative_sd: float) -> Interval:
    return _median(each, abs(relative_sd)) if np.isfinite(each).all() else Interval.missing(NO_IDLE)
