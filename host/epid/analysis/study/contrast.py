"""Ratios of two arms, from the scatter of their runs: intervals, bounds and tests by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from ..interval import LEVEL, Interval
from .verdict import ALPHA

ONE_RUN = "one run per arm says nothing about how runs differ; record at least 3 of each"


@dataclass(frozen=True, slots=True)
class Spread:
    """Scatter of single runs about their arm: relative standard deviation `cv` with `freedom` degrees of freedom."""

    cv: float
    freedom: int


@dataclass(frozen=True, slots=True)
class Contrast:
    """Logarithm of a ratio, its standard error and degrees of freedom; `runs` per arm, the smaller of the two."""

    log: float
    error: float
    freedom: float
    runs: int

    @property
    def ratio(self) -> Interval:
        """The ratio with its 95 % interval."""
        low, high = self.bounds((1 - LEVEL) / 2)
        return Interval(math.exp(self.log), low, high)

    @property
    def tested(self) -> bool:
        """Whether runs were repeated, so that anything can be claimed."""
        return self.freedom >= 1

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Lower and upper bound of the ratio, each with error `alpha`."""
        half = float(student.isf(alpha, max(self.freedom, 1))) * self.error if self.tested else 1.96 * self.error
        return math.exp(self.log - half), math.exp(self.log + half)

    def p_below(self) -> float:
        """p of "the ratio is 1 or more": small where it is truly below 1."""
        if not self.tested:
            return 1.0
        if self.error == 0:
            return 0.0 if self.log < 0 else 1.0
        return float(student.cdf(self.log / self.error, self.freedom))

    def p_changed(self) -> float:
        """p of "the ratio is 1"."""
        if not self.tested or self.log == 0:
            return 1.0
        return min(1.0, 2 * min(self.p_below(), 1 - self.p_below()))

    def claim(self, margin: float, alpha: float = ALPHA) -> str:
        """unchanged: inside 1 ± margin by two one-sided tests; else lower or higher where 1 is out of bounds; else undecided."""
        low, high = self.bounds(alpha)
        if not self.tested:
            return "undecided"
        if 1 - margin < low and high < 1 + margin:
            return "unchanged"
        return "lower" if high < 1 else "higher" if low > 1 else "undecided"

    def more_runs(self, distance: float, alpha: float = ALPHA) -> int | None:
        """Runs per arm that would probably (4 in 5) tell a `distance` of the logarithm from the edge; None where none would."""
        if distance <= 0 or not math.isfinite(self.error):
            return None
        needed = (float(student.isf(alpha, 30)) + 0.84) * self.error / distance
        more = math.ceil(self.runs * needed**2) - self.runs
        return None if more > 1000 else max(1, more, 3 - self.runs)


def spread(arms: Sequence[Sequence[float]], least: float = 0.0) -> Spread:
    """Pool the relative scatter of runs within their arms; never less than `least`, what the meter alone scatters."""
    logs = [np.log(np.asarray(values)) for values in arms if len(values) > 1]
    freedom = sum(len(values) - 1 for values in logs)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in logs)
    return Spread(max(math.sqrt(squares / freedom), least) if freedom else least, freedom)


def contrast(pruned: Sequence[float], baseline: Sequence[float], scatter: Spread, common: float = 0.0) -> Contrast:
    """Compare two arms; `common`: relative error that all runs of an arm share and the other arm does not (another meter)."""
    mean = float(np.mean(np.log(pruned)) - np.mean(np.log(baseline)))
    error = scatter.cv * math.sqrt(1 / len(pruned) + 1 / len(baseline))
    return Contrast(mean, math.hypot(error, common), scatter.freedom, min(len(pruned), len(baseline)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number (Holm 1979, Scand. J. Stat. 6, 65)."""
    order = np.argsort(p_values)
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[at])
        adjusted[at] = min(1.0, running)
    return adjusted
