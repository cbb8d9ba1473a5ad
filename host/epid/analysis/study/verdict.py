"""Claims that were tested, and what is missing where they could not be decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..interval import Interval

ALPHA = 0.01
"""One-sided error of every claim of this module: a false verdict in at most one of a hundred studies."""


@dataclass(frozen=True, slots=True)
class Margins:
    """What counts as no difference. `kappa`: of the compensation coefficient, about 0 and about 1. `time`, `power`: relative."""

    kappa: float = 0.25
    time: float = 0.01
    power: float = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """`claim` is the decided word, or "undecided" or "impossible"; `sentence` says it for a person with its figures.

    `test` names the test and its margins. `more_repeats`: runs per arm that would probably decide it, None where it is decided
    or where no number of runs would.
    """

    claim: str
    sentence: str
    test: str
    more_repeats: int | None = None

    @property
    def decided(self) -> bool:
        """Whether the data allowed a claim."""
        return self.claim not in ("undecided", "impossible")

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"decided": self.decided}


@dataclass(frozen=True, slots=True)
class Signal:
    """One observed ratio pruned / baseline. `claim`: lower, higher, unchanged (inside the margin) or undecided."""

    name: str
    ratio: Interval
    margin: float
    claim: str

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"name": self.name, "ratio": self.ratio.to_map(), "margin": self.margin, "claim": self.claim}
