"""Notices that this computer slept: CLOCK_MONOTONIC_RAW stood still meanwhile, and every other clock went on."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_NS = 200_000_000


def _boot_ahead_ns() -> int:
    """How far the clock that counts sleep is ahead of the one that does not."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class SleepWatch:
    """Compares the two clocks at each look."""

    def __init__(self, ahead_ns: Callable[[], int] = _boot_ahead_ns) -> None:
        self._ahead_ns = ahead_ns
        self._last_ns = ahead_ns()

    def slept_s(self) -> float:
        """Seconds that the computer slept since the last look; 0 for none."""
        now_ns = self._ahead_ns()
        slept_ns, self._last_ns = now_ns - self._last_ns, now_ns
        return slept_ns / 1e9 if slept_ns >= SHORTEST_NS else 0.0
