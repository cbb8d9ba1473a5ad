"""Batches the daemon has not acknowledged yet: in memory up to a bound, then in a file, in order, each until its ack."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MEMORY_BYTES = 32 << 20
DISK_BYTES = 1 << 30
WINDOW = 16
"""Batches under way at once; so few that a daemon that comes back is not flooded."""


class Backlog:
    """Packed batches by sequence number. Once `full`, the caller leaves new spans in the ring, which counts what it loses."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES, folder: Path | None = None) -> None:
        self._memory_bytes, self._disk_bytes, self._folder = memory_bytes, disk_bytes, folder
        self._batches: dict[int, bytes | tuple[int, int]] = {}  # packed, or where in the file: (offset, length)
        self._next = 0  # sequence number that the connection has not carried yet, nor any behind it
        self._end = 0  # one behind the highest sequence number
        self._under_way = 0
        self._in_memory = 0
        self._spilled = 0
        self._file: BinaryIO | None = None
        self._full = False

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the batches kept, the oldest first."""
        for batch in list(self._batches.values()):
            yield self._load(batch)

    @property
    def full(self) -> bool:
        """Return whether neither memory nor disk takes another batch."""
        return self._full

    @property
    def next_seq(self) -> int:
        """Return a number below which no batch will be sent before the connection breaks."""
        return self._next

    @property
    def spilled_bytes(self) -> int:
        """Return how much lies in the file."""
        return self._spilled

    def put(self, seq: int, packed: bytes) -> None:
        """Keep a batch, its number higher than all before; the caller asks `full` first."""
        if self._in_memory + len(packed) <= self._memory_bytes or not self._spill(seq, packed):
            self._batches[seq] = packed
            self._in_memory += len(packed)
        self._end = seq + 1

    def ack(self, seq: int) -> None:
        """Forget a batch that arrived; an unknown number is an ack heard twice."""
        batch = self._batches.pop(seq, None)
        if batch is None:
            return
        if seq < self._next:
            self._under_way -= 1
        if isinstance(batch, bytes):
            self._in_memory -= len(batch)
            self._full = False
        if not self._batches:
            self._empty_file()

    def take(self) -> bytes | None:
        """Return the next batch to send, or None while a window of them is under way or none is left."""
        while self._next < self._end and self._next not in self._batches:
            self._next += 1
        if self._next >= self._end or self._under_way >= WINDOW:
            return None
        batch = self._batches[self._next]
        self._next += 1
        self._under_way += 1
        return self._load(batch)

    def rewind(self) -> None:
        """Send everything kept again: the connection that carried it is gone."""
        self._next = min(self._batches, default=self._end)
        self._under_way = 0

    def restart(self) -> None:
        """Drop everything and count from 0 again: a new run begins."""
        self._batches.clear()
        self._next = self._end = self._under_way = self._in_memory = 0
        self._empty_file()

    def close(self) -> None:
        """Drop everything, the file too."""
        self.restart()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _load(self, batch: bytes | tuple[int, int]) -> bytes:
        if isinstance(batch, bytes):
            return batch
        offset, length = batch
        assert self._file is not None
        return os.pread(self._file.fileno(), length, offset)

    def _spill(self, seq: int, packed: bytes) -> bool:
        """Put a batch into the file; False where there is no room, and then memory takes this last one."""
        try:
            if self._spilled + len(packed) > self._disk_bytes:
                raise OSError("the bound of the spill file is reached")
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="hookrun-", dir=self._folder)  # noqa: SIM115  lives as long as the run
            written = os.pwrite(self._file.fileno(), packed, self._spilled)
            if written < len(packed):
                raise OSError("the disk is full")
        except OSError:
            self._full = True
            return False
        self._batches[seq] = (self._spilled, len(packed))
        self._spilled += len(packed)
        return True

    def _empty_file(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
        self._spilled = 0
        self._full = False
