"""A pattern of load that the meter has to see: all cores busy, nothing, busy again, for pseudo-random lengths.

The pattern is written as spans of kind `burn` and `rest`; where it reappears in the metered power tells how late the meter is,
its averaging included. Pseudo-random lengths make the place unambiguous, as the chips of a spread-spectrum signal do.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..clock import node_ns
from ..sending.ring import SpanRing
from .burner import Burner, burner

TOTAL_S = 20.0
SHORTEST_S, LONGEST_S = 0.05, 0.4


@dataclass(frozen=True, slots=True)
class PatternOrder:
    """Which pattern is asked for, and for how long at each end of a run."""

    seed: int
    seconds: float = TOTAL_S


class LoadPattern:
    """Plays the pattern of one seed. Playing it again goes on with other lengths, so that two ends of a run differ."""

    def __init__(
        self,
        seed: int,
        ring: SpanRing,
        *,
        total_s: float = TOTAL_S,
        clock: Callable[[], int] = node_ns,
        sleep: Callable[[float], None] = time.sleep,
        load: Burner | None = None,
    ) -> None:
        self._lengths = lengths_s(seed)
        self._ring, self._total_s, self._clock, self._sleep = ring, total_s, clock, sleep
        self._load = burner(len(os.sched_getaffinity(0))) if load is None else load

    def play(self) -> None:
        """Alternate between load and rest for `total_s`; spans are written as they end, `sleep` may interrupt."""
        over_ns = self._clock() + round(self._total_s * 1e9)
        with self._load:
            while self._clock() < over_ns:
                self._span("burn", next(self._lengths), self._burn)
                self._span("rest", next(self._lengths), self._sleep)

    def _burn(self, seconds: float) -> None:
        self._load.burn(self._clock() + round(seconds * 1e9))

    def _span(self, kind: str, seconds: float, act: Callable[[float], None]) -> None:
        begin_ns = self._clock()
        try:
            act(seconds)
        finally:
            self._ring.push(kind, begin_ns, self._clock())


def lengths_s(seed: int) -> Iterator[float]:
    """Yield the lengths of a seed's spans for ever, loud ones and quiet ones in turn: uniform from 50 to 400 ms."""
    numbers = random.Random(seed)
    while True:
        yield numbers.uniform(SHORTEST_S, LONGEST_S)
