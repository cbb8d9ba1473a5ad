"""Spans between the thread that measures and the thread that sends: allocated once, one writer, one reader.

The writer's caches are cold: an engine has streamed its weights through them since the last token, and every line of Python then
costs ten times its usual time. So a write is one copy of times and one record of what they mean, and the reader makes columns of
records in bulk. A write that does not fit is dropped whole and counted: a token's spans are there together or missing together.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epi_protocol.events import COLUMNS, KIND

CAPACITY = 1 << 16


@dataclass(frozen=True, slots=True)
class SpanBlock:
    """What is the same in every row of spans of one computation: kind (`array("B")`) and layer (`array("h")`) of each."""

    kinds: array[int]
    layers: array[int]

    def __len__(self) -> int:
        return len(self.kinds)


_Record = tuple[SpanBlock, tuple[int, ...]]
"""Block, and what is the same in all its rows, in the order of `_CONSTANTS`. Its times are one more than its spans."""
_CONSTANTS = ("phase", "request", "token", "count", "batch")


class SpanRing:
    """`capacity` spans; `push*` on one thread, `drain` on one other. `pushed` and `dropped` only grow."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} spans; it needs at least one")
        self.capacity = capacity
        self.dropped = 0
        self._times_ns = array("q", bytes(8 * 2 * capacity))  # a span alone has two times, one in a block fewer
        self._records: list[_Record | None] = [None] * capacity
        self._singles: dict[tuple[str, int], SpanBlock] = {}
        # Counts since the ring was made. The writer moves the first three, `_head` last; the reader moves the others.
        self._times_written = self._records_written = self._head = 0
        self._times_read = self._records_read = self._tail = 0
        self._rows_read = 0  # of the record that the reader has reached

    def __len__(self) -> int:
        return self._head - self._tail

    @property
    def pushed(self) -> int:
        """Spans that went in since the ring was made, without the dropped ones."""
        return self._head

    def push(
        self,
        kind: str,
        begin_ns: int,
        end_ns: int,
        *,
        phase: int = 0,
        layer: int = -1,
        request: int = -1,
        token: int = -1,
        count: int = 0,
        batch: int = 0,
    ) -> None:
        """Write one span."""
        block = self._singles.get((kind, layer))
        if block is None:
            block = self._singles[kind, layer] = SpanBlock(array("B", (KIND[kind],)), array("h", (layer,)))
        self._write(1, array("q", (begin_ns, end_ns)), (block, (phase, request, token, count, batch)))

    def push_block(
        self,
        block: SpanBlock,
        boundaries_ns: array[int] | Sequence[int],
        *,
        phase: int,
        request: int,
        token: int,
        count: int,
        batch: int = 1,
    ) -> None:
        """Write one computation's spans, each beginning where the last ended: `boundaries_ns` holds one time more than spans."""
        spans = len(block.kinds)
        if len(boundaries_ns) != spans + 1:
            raise ValueError(f"{len(boundaries_ns)} boundaries for {spans} spans; one more than spans is needed")
        times_ns = boundaries_ns if isinstance(boundaries_ns, array) else array("q", boundaries_ns)
        self._write(spans, times_ns, (block, (phase, request, token, count, batch)))

    def drain(self, limit: int) -> tuple[int, Mapping[str, bytes]]:
        """Take up to `limit` spans, the oldest first: their number, and each column as little-endian bytes."""
        count = min(limit, len(self))
        columns = {name: array(code) for name, code, _meaning in COLUMNS}
        constants, rows, left = [], [], count
        while left:
            of_record, taken = self._take(left, columns)
            constants.append(of_record)
            rows.append(taken)
            left -= taken
        for name, values in zip(_CONSTANTS, zip(*constants, strict=True), strict=bool(constants)):
            _extend(columns[name], values, rows)
        self._tail += count
        return count, {name: _little_endian(column) for name, column in columns.items()}

    def _write(self, spans: int, times_ns: array[int], record: _Record) -> None:
        if spans > self.capacity - self._head + self._tail:
            self.dropped += spans
            return
        if not spans:
            return
        at, ring = self._times_written % len(self._times_ns), self._times_ns
        behind = at + spans + 1
        if behind <= len(ring):
            ring[at:behind] = times_ns
        else:
            first = len(ring) - at
            ring[at:], ring[: behind - len(ring)] = times_ns[:first], times_ns[first:]
        self._records[self._records_written % self.capacity] = record
        self._times_written += spans + 1
        self._records_written += 1
        self._head += spans

    def _take(self, limit: int, columns: Mapping[str, array[int]]) -> tuple[tuple[int, ...], int]:
        """Append what differs within up to `limit` rows of the oldest record; return what does not, and how many rows.

        The last ones free the record.
        """
        record = self._records[self._records_read % self.capacity]
        assert record is not None
        (block, constants), skipped = record, self._rows_read
        spans = len(block.kinds)
        rows = min(limit, spans - skipped)
        times_ns = self._times(self._times_read + skipped, rows + 1)
        columns["begin_ns"].extend(times_ns[:-1])
        columns["end_ns"].extend(times_ns[1:])
        whole = rows == spans
        columns["kind"].extend(block.kinds if whole else block.kinds[skipped : skipped + rows])
        columns["layer"].extend(block.layers if whole else block.layers[skipped : skipped + rows])
        self._rows_read += rows
        if self._rows_read == spans:
            self._times_read += spans + 1
            self._records_read += 1
            self._rows_read = 0
        return constants, rows

    def _times(self, first: int, count: int) -> array[int]:
        at = first % len(self._times_ns)
        times_ns = self._times_ns[at : at + count]
        return times_ns if len(times_ns) == count else times_ns + self._times_ns[: count - len(times_ns)]


def _extend(column: array[int], values: Sequence[int], rows: Sequence[int]) -> None:
    """Append each value as often as its record has rows; a value that stays goes in at once."""
    run, value = 0, values[0]
    for following, count in zip(values, rows, strict=True):
        if following != value:
            column.extend(array(column.typecode, (value,)) * run)
            run, value = 0, following
        run += count
    column.extend(array(column.typecode, (value,)) * run)


def _little_endian(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()
