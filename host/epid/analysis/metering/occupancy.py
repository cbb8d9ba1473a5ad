"""How long each kind of span lasted inside each interval between instants: the design of every regression here."""

from __future__ import annotations

import numpy as np


class Occupancy:
    """Adds up spans, piece by piece, on a grid of ascending instants `at_ns`; how many intervals a span covers costs nothing."""

    def __init__(self, at_ns: np.ndarray, n_columns: int) -> None:
        self._at_ns, self._n_columns = at_ns, n_columns
        self._seconds = np.zeros((len(at_ns) - 1, n_columns))
        self._whole = np.zeros((len(at_ns), n_columns))

    def add(self, begin_ns: np.ndarray, end_ns: np.ndarray, column: np.ndarray) -> None:
        """Add spans in any order, cut off at the ends of the grid."""
        at_ns = self._at_ns
        begin, end = np.clip(begin_ns, at_ns[0], at_ns[-1]), np.clip(end_ns, at_ns[0], at_ns[-1])
        keep = end > begin
        if not keep.any():
            return
        begin, end, column = begin[keep], end[keep], column[keep]
        first, last = self._interval(begin), self._interval(end)
        # As if each span filled its first and its last interval from the edge that it crosses, and all between them whole; one
        # that crosses no edge then counts minus one whole interval too many.
        self._sum_into(self._seconds, first, column, (at_ns[first + 1] - begin) / 1e9)
        self._sum_into(self._seconds, last, column, (end - at_ns[last]) / 1e9)
        self._sum_into(self._whole, first + 1, column, np.ones(len(first)))
        self._sum_into(self._whole, last, column, -np.ones(len(first)))

    def seconds(self) -> np.ndarray:
        """Return seconds of shape (len(at_ns) - 1, n_columns)."""
        covered = np.cumsum(self._whole[:-1], axis=0)
        return np.asarray(self._seconds + covered * (np.diff(self._at_ns) / 1e9)[:, None])

    def _interval(self, moment_ns: np.ndarray) -> np.ndarray:
        """Number of the interval that holds each moment; the last instant belongs to the last interval."""
        return np.clip(np.searchsorted(self._at_ns, moment_ns, side="right") - 1, 0, len(self._at_ns) - 2)

    def _sum_into(self, target: np.ndarray, row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        low, high = int(row.min()), int(row.max()) + 1
        flat = np.bincount((row - low) * self._n_columns + column, value, (high - low) * self._n_columns)
        target[low:high] += flat.reshape(high - low, self._n_columns)


def occupancy(at_ns: np.ndarray, begin_ns: np.ndarray, end_ns: np.ndarray, column: np.ndarray, n_columns: int) -> np.ndarray:
    """Return seconds of shape (len(at_ns) - 1, n_columns): time of the spans of each column between neighbouring instants."""
    grid = Occupancy(at_ns, n_columns)
    grid.add(begin_ns, end_ns, column)
    return grid.seconds()
