"""What a stamper is: an engine's callbacks that note the time of each call. Compiled where it could be built, else in Python."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

MAX_STAMPS = 1 << 16
"""Stamps of one computation; a graph has about 17 operations per layer."""


class Stamper(Protocol):
    """Counts the calls of computations and stamps those watched, into the array it was made with."""

    op_address: int
    """Of a callback `bool (void *data)`, called after each operation."""
    node_address: int
    """Of a callback `bool (void *tensor, bool ask, void *data)`, called around each graph node."""
    data_address: int
    stop: int
    """Set to 1, the next call ends the computation."""

    @property
    def calls(self) -> int:
        """Return the calls since the last reset."""

    @property
    def stored(self) -> int:
        """Return how many stamps of watched calls stand in the array."""

    @property
    def overflow(self) -> int:
        """Return how many stamps found the array full, ever."""

    def watch(self, calls: Sequence[int] | None, /) -> None:
        """Stamp only these calls of each computation (ascending, from 0), or every call with None.

        The last watched one is the last of a computation: behind it, the next one begins.
        """

    def reset(self) -> None:
        """Forget all stamps and calls: a computation begins."""


def compiled_stamper(times_ns: array[int] | memoryview[int]) -> Stamper | None:
    """Return the compiled stamper, or None where it was not built at install."""
    try:
        from ._stamp import Stamper as Compiled
    except ImportError:
        return None
    stamper: Stamper = Compiled(times_ns)
    return stamper
