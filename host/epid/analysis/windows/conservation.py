"""Do the parts add up to what the meter counted? A mismatch is reported; nothing is rescaled to hide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class Part:
    """A disjoint part of the run's time, such as idle, prefill, layers, rest of decode, unlabelled; joules as estimated."""

    name: str
    seconds: float
    joules: float


@dataclass(frozen=True, slots=True)
class Conservation:
    """`parts` beside `metered_j`, what the registers counted over the same `seconds`; NaN with a `fault` where unknown."""

    parts: tuple[Part, ...]
    seconds: float
    metered_j: float
    fault: str = ""

    @property
    def sum_j(self) -> float:
        """All parts together."""
        return sum(part.joules for part in self.parts)

    @property
    def mismatch(self) -> float:
        """(sum - metered) / metered."""
        return (self.sum_j - self.metered_j) / self.metered_j if self.metered_j else float("nan")

    @property
    def holds(self) -> bool:
        """Whether the mismatch is within TOLERANCE."""
        return abs(self.mismatch) <= TOLERANCE

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "parts": [{"name": part.name, "seconds": part.seconds, "joules": part.joules} for part in self.parts],
            "seconds": self.seconds,
            "metered_j": self.metered_j,
            "sum_j": self.sum_j,
            "mismatch": self.mismatch,
            "tolerance": TOLERANCE,
            "holds": self.holds,
            "fault": self.fault or None,
        }
