"""From which depth on a cut really saves energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .arm import Arm
from .contrast import Contrast, holm
from .verdict import ALPHA

_NO_ARMS = "no cut of the baseline was run, so there is no depth to speak of"


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """One depth of one target: `real` where the saving is above 0 after Holm's correction over all depths."""

    depth: float
    target: str
    arm: str
    p_adjusted: float
    real: bool


@dataclass(frozen=True, slots=True)
class Threshold:
    """`depth`: least share of heads removed from which every tested cut saves, NaN where there is none; it lies between
    `below` (the deepest tested cut that does not, 0 where all do) and itself. `sentence` says it."""

    depth: float
    below: float
    points: tuple[DepthPoint, ...]
    sentence: str

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        points = [asdict(point) for point in self.points]
        return {"depth": self.depth, "below": self.below, "points": points, "sentence": self.sentence}


def threshold_of(cuts: Sequence[tuple[Arm, Contrast]]) -> Threshold:
    """Test each cut's saving against 0, the number of cuts allowed for; `cuts`: arms with their ratio of joules per token."""
    if not cuts:
        return Threshold(float("nan"), float("nan"), (), _NO_ARMS)
    adjusted = holm([joules.p_below() for _arm, joules in cuts])
    points = [
        DepthPoint(arm.depth, arm.target, arm.label, p, p < ALPHA) for (arm, _joules), p in zip(cuts, adjusted, strict=True)
    ]
    points.sort(key=lambda point: point.depth)
    unreal = [point.depth for point in points if not point.real]
    below = max(unreal, default=0.0)
    above = [point.depth for point in points if point.depth > below]
    if not above:
        return Threshold(
            float("nan"), below, tuple(points), f"no saving is shown up to {below:.0%} of the heads, the deepest cut tested"
        )
    start = f"between {below:.0%} and {min(above):.0%}" if unreal else f"at or below {min(above):.0%}, the least cut tested"
    sentence = (
        f"savings become real {start} of the heads removed (one-sided t tests, Holm over {len(points)} cuts, alpha {ALPHA:g})"
    )
    return Threshold(min(above), below, tuple(points), sentence)
