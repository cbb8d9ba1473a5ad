"""A run that compares itself with and without layer spans, in blocks of tokens taken in turn."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict

from ..comparison import spread

BLOCK = 8
"""Decoded tokens in a row with the same setting; the first of them is not counted, for a changed class costs it extra."""
PAIRS = 100
"""Pairs of blocks, one with layers and one without, after which layers are always seen: newer Pythons stop caching the methods
of a class that has been changed a thousand times."""
SEED = 1


class OverheadCheck:
    """`inside` says of each decoded token of the run whether its layers are looked into; `note` takes its duration."""

    def __init__(self, pairs: int = PAIRS, seed: int = SEED) -> None:
        draw = random.Random(seed)
        self._plan = [inside for _ in range(pairs) for inside in draw.sample((True, False), 2)]
        self._asked = -1
        self._noted = -1
        self._durations: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)

    def inside(self) -> bool:
        """Return the setting for the next token."""
        self._asked += 1
        return self._setting(self._asked)

    def note(self, took_ns: int) -> None:
        """Take the duration of the next token, in the order of `inside`."""
        self._noted += 1
        block, position = divmod(self._noted, BLOCK)
        if position and block < len(self._plan):
            self._durations[block // 2, self._plan[block]].append(took_ns)

    def ratios(self) -> list[float]:
        """Return tokens per second with layer spans relative to those without, one per whole pair of blocks."""
        medians = {key: statistics.median(took) for key, took in self._durations.items() if len(took) == BLOCK - 1}
        pairs = {pair for pair, _inside in medians}
        return [
            medians[pair, False] / medians[pair, True]
            for pair in sorted(pairs)
            if (pair, True) in medians and (pair, False) in medians
        ]

    def sentence(self) -> str:
        """Return the comparison for people."""
        ratios = self.ratios()
        if len(ratios) < 2:
            return f"overhead check: {len(ratios)} pairs of blocks of {BLOCK} tokens are too few to compare; decode more tokens"
        found = spread(ratios)
        interval = "" if found.interval is None else " [{:.4f} {:.4f}]".format(*found.interval)
        return f"overhead check: tokens/s with layer spans relative to without {found.median:.4f}{interval}, {len(ratios)} pairs"

    def _setting(self, token: int) -> bool:
        block = token // BLOCK
        return self._plan[block] if block < len(self._plan) else True
