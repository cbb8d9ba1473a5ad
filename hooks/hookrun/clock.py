"""The node's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

node_ns: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC_RAW)
"""Return CLOCK_MONOTONIC_RAW in nanoseconds: never stepped, never slewed, and the clock of the compiled stamps.

No function of Python: it is called where the caches are cold, and every line of Python is then some microseconds.
"""
