"""The node's clock."""

from __future__ import annotations

import time


def node_ns() -> int:
    """Return CLOCK_MONOTONIC_RAW in nanoseconds: never stepped, never slewed, and the clock of the compiled stamps."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
