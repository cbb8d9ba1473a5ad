"""A figure with the interval that holds it in 95 of 100 runs, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

LEVEL = 0.95
SIGMAS = 1.959963984540054
"""Half width of a 95 % interval of a normal error, in standard deviations."""

_NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True, slots=True)
class Interval:
    """`value` and its 95 % interval [low, high], all three NaN where there is no figure; `reason` then says why in one phrase.

    The interval may lie askew of the value, as a binomial's does, and one of its ends may be infinite.
    """

    value: float
    low: float
    high: float
    reason: str = ""

    @classmethod
    def missing(cls, reason: str = _NOT_MEASURED) -> Interval:
        """No figure, and why."""
        return cls(math.nan, math.nan, math.nan, reason or _NOT_MEASURED)

    @classmethod
    def normal(cls, value: float, sd: float) -> Interval:
        """A figure with a normal error of standard deviation `sd`."""
        return cls(value, value - SIGMAS * sd, value + SIGMAS * sd) if math.isfinite(value) else cls.missing()

    @classmethod
    def exact(cls, value: float) -> Interval:
        """A figure that was counted, not measured."""
        return cls(value, value, value)

    @property
    def known(self) -> bool:
        """Whether there is a figure."""
        return math.isfinite(self.value)

    @property
    def half_width(self) -> float:
        """Half the length of the interval; NaN where there is no figure."""
        return (self.high - self.low) / 2

    @property
    def sd(self) -> float:
        """Standard deviation of a normal error with an interval this long."""
        return self.half_width / SIGMAS

    def holds(self, truth: float) -> bool:
        """Whether the interval contains `truth`."""
        return self.low <= truth <= self.high

    def scaled(self, factor: float) -> Interval:
        """The same figure in another unit; a negative factor swaps the ends."""
        low, high = sorted((self.low * factor, self.high * factor)) if self.known else (math.nan, math.nan)
        return replace(self, value=self.value * factor, low=low, high=high)

    def to_map(self) -> dict[str, Any]:
        """Return {"value", "low", "high"} with null for what there is not, and {"reason"} where there is no figure."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return finite | ({"reason": self.reason} if self.reason else {})
