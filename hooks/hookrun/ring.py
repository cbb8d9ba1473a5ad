"""Spans between the thread that measures and the thread that sends: columns allocated once, one writer, one reader.

Writing is a handful of slice assignments, whatever the number of spans. A write that does not fit is dropped whole and
counted, so a token's spans are there together or missing together.
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


class SpanRing:
    """`capacity` spans; `push*` on one thread, `drain` on one other. `pushed` and `dropped` only grow."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} spans; it needs at least one")
        self.capacity = capacity
        self.dropped = 0
        self._columns = [array(code, bytes(array(code).itemsize * capacity)) for _name, code, _meaning in COLUMNS]
        self._head = 0  # spans ever written; only the writer moves it, after the columns are filled
        self._tail = 0  # spans ever drained; only the reader moves it, after the columns are copied

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
        if len(self) >= self.capacity:
            self.dropped += 1
            return
        at = self._head % self.capacity
        row = (begin_ns, end_ns, KIND[kind], phase, layer, request, token, count, batch)
        for column, value in zip(self._columns, row, strict=True):
            column[at] = value
        self._head += 1

    def push_block(
        self,
        block: SpanBlock,
        boundaries_ns: Sequence[int],
        *,
        phase: int,
        request: int,
        token: int,
        count: int,
        batch: int = 1,
    ) -> None:
        """Write one computation's spans, each beginning where the last ended: `boundaries_ns` holds one time more than spans."""
        spans = len(block)
        if len(boundaries_ns) != spans + 1:
            raise ValueError(f"{len(boundaries_ns)} boundaries for {spans} spans; one more than spans is needed")
        if spans > self.capacity - len(self):
            self.dropped += spans
            return
        times_ns = array("q", boundaries_ns)
        self._write(
            spans,
            times_ns[:-1],
            times_ns[1:],
            block.kinds,
            array("B", (phase,)) * spans,
            block.layers,
            array("i", (request,)) * spans,
            array("i", (token,)) * spans,
            array("i", (count,)) * spans,
            array("H", (batch,)) * spans,
        )

    def drain(self, limit: int) -> tuple[int, Mapping[str, bytes]]:
        """Take up to `limit` spans, the oldest first: their number, and each column as little-endian bytes."""
        count = min(limit, len(self))
        columns = {name: self._read(index, code, count) for index, (name, code, _meaning) in enumerate(COLUMNS)}
        self._tail += count
        return count, columns

    def _write(self, spans: int, *columns: array[int]) -> None:
        """Copy values, in the order of COLUMNS, behind the head; the last ones to the front where the end is reached."""
        at = self._head % self.capacity
        first = self.capacity - at
        for column, values in zip(self._columns, columns, strict=True):
            if spans <= first:
                column[at : at + spans] = values
            else:
                column[at:] = values[:first]
                column[: spans - first] = values[first:]
        self._head += spans

    def _read(self, index: int, code: str, count: int) -> bytes:
        column, at = self._columns[index], self._tail % self.capacity
        first = min(count, self.capacity - at)
        values = array(code, column[at : at + first].tobytes() + column[: count - first].tobytes())
        if sys.byteorder == "big":
            values.byteswap()
        return values.tobytes()
