"""In which order the arms run. Warming up and ageing then hit all arms alike, instead of the one that came last."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

DESIGNS = ("blocks", "abba")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run to make: `arm` in its `block`, both as they stand in the journal."""

    block: int
    arm: str


def schedule(arms: Sequence[str], repeats: int, design: str, seed: int) -> tuple[Trial, ...]:
    """Return `repeats` blocks, each with every arm once.

    `blocks`: the order within a block is drawn anew from `seed` (randomised complete blocks). `abba`: there and back again,
    which cancels a linear drift exactly over each pair of blocks.
    """
    assert design in DESIGNS, design
    source = random.Random(seed)
    return tuple(Trial(block, arm) for block in range(repeats) for arm in _block(list(arms), block, design, source))


def _block(arms: list[str], block: int, design: str, source: random.Random) -> list[str]:
    if design == "abba":
        return arms if block % 2 == 0 else arms[::-1]
    return source.sample(arms, len(arms))
