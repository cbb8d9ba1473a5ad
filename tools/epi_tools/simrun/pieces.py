"""Watts as constant pieces in plain Python: all that the chip model has to know of a hidden profile."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from epi_tools.plant.source import Piece


class Pieces:
    """A source of the plant: `watts` up to each of `ends_ns`, both of the same length; the last holds on."""

    def __init__(self, ends_ns: Sequence[int], watts: Sequence[float]) -> None:
        self._ends_ns = list(ends_ns)
        self._pieces: list[Piece] = list(zip(self._ends_ns, watts, strict=True))

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        """See epi_tools.plant.Source."""
        if end_ns <= start_ns:
            return ()
        first, last = bisect_right(self._ends_ns, start_ns), bisect_left(self._ends_ns, end_ns)
        found = self._pieces[first:last]
        found.append((end_ns, self._pieces[min(last, len(self._pieces) - 1)][1]))
        return found

    def observe(self) -> None:
        """Nothing to look at."""
