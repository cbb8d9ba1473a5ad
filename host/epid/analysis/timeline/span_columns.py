"""Spans as they are read from a run file: columns that grow, so that an hour of them is never in memory twice."""

from __future__ import annotations

import numpy as np

from epi_protocol import events

SPAN_DTYPES = {name: np.dtype(f"<{code}") for name, code, _meaning in events.COLUMNS}

_GROWTH = 1.08
_LEAST = 1 << 16


class SpanColumns:
    """Columns of events.COLUMNS; `add` batches in the order they came, then look at `columns`."""

    def __init__(self) -> None:
        self._arrays = {name: np.empty(0, dtype) for name, dtype in SPAN_DTYPES.items()}
        self._count = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def add(self, batch: events.SpanBatch) -> None:
        """Append one batch of spans."""
        end = self._count + batch.count
        for name, dtype in SPAN_DTYPES.items():
            array = self._arrays[name]
            if end > len(array):
                # The memory of a large array is moved by the kernel page by page, not copied; nobody else holds it yet.
                array.resize(max(end, _LEAST, int(len(array) * _GROWTH)), refcheck=False)
            array[self._count : end] = np.frombuffer(batch.columns[name], dtype)
        self._count = end
        self.dropped = max(self.dropped, batch.dropped)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns, each of shape (n_spans,): views, so nothing may be added after."""
        return {name: array[: self._count] for name, array in self._arrays.items()}
