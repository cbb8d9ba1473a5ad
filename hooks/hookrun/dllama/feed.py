"""What the shim writes, read from shared memory: stamps of the program's timer, and marks of flushes and transfers.

The layout stands in `_shim.c`. Entries are taken one look late: whoever counted an entry has written it by then.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

VARIABLE = "HOOKRUN_DLLAMA_SHIM"
STAMPS, MARKS = 1 << 17, 1 << 15
_MAGIC = 0x6C6C616D61736869
_WORD, _HEADER_WORDS, _MARK_WORDS = 8, 8, 4
_STAMPS_WRITTEN, _MARKS_WRITTEN = 3, 4


class MarkKind(IntEnum):
    """What happened; numbers as in the shim."""

    FLUSH = 1
    SENT = 2
    RECEIVED = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """One event in the program. `value`: for a flush how often the timer had asked for the time, for 8 bytes received those."""

    kind: MarkKind
    begin_ns: int
    end_ns: int
    value: int = 0
    socket: int = 0
    bytes: int = 0


class Feed:
    """Makes the shared memory and reads it. `missed` counts marks that were overwritten before they were read."""

    def __init__(self, stamps: int = STAMPS, marks: int = MARKS) -> None:
        self.missed = 0
        self._stamp_capacity, self._mark_capacity = stamps, marks
        size = _WORD * (_HEADER_WORDS + stamps + _MARK_WORDS * marks)
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        descriptor, name = tempfile.mkstemp(prefix="hookrun-dllama-", dir=folder)
        self.path = Path(name)
        os.ftruncate(descriptor, size)
        self._memory = mmap.mmap(descriptor, size)
        os.close(descriptor)
        self._memory[: 3 * _WORD] = struct.pack("=3Q", _MAGIC, stamps, marks)
        self._read = self._ripe = 0

    @property
    def stamps_written(self) -> int:
        """Return how often the program has asked for the time."""
        return self._word(_STAMPS_WRITTEN)

    @property
    def activity(self) -> int:
        """Return a number that grows whenever the program does something that the shim sees."""
        return self._word(_STAMPS_WRITTEN) + self._word(_MARKS_WRITTEN)

    def marks(self, *, everything: bool = False) -> Iterator[Mark]:
        """Yield the marks that are surely whole; after the program's end, `everything`."""
        written = self._word(_MARKS_WRITTEN)
        until = written if everything else self._ripe
        self._ripe = written
        oldest = written - self._mark_capacity
        if self._read < oldest:
            self.missed += oldest - self._read
            self._read = oldest
        while self._read < until:
            yield self._mark(self._read)
            self._read += 1

    def stamps_ns(self, first: int, count: int) -> array[int] | None:
        """Return `count` stamps from number `first` on; None where they are not there (any more)."""
        written = self._word(_STAMPS_WRITTEN)
        if first < 0 or first < written - self._stamp_capacity or first + count > written:
            return None
        at = first % self._stamp_capacity
        before_end = min(count, self._stamp_capacity - at)
        stamps = array("q", self._words(_HEADER_WORDS + at, before_end) + self._words(_HEADER_WORDS, count - before_end))
        overtaken = first < self._word(_STAMPS_WRITTEN) - self._stamp_capacity
        return None if overtaken else stamps

    def close(self) -> None:
        """Remove the shared memory."""
        self._memory.close()
        self.path.unlink(missing_ok=True)

    def _mark(self, number: int) -> Mark:
        at = _HEADER_WORDS + self._stamp_capacity + _MARK_WORDS * (number % self._mark_capacity)
        begin_ns, end_ns, value, kind_and_socket, size = struct.unpack("=qqQII", self._words(at, _MARK_WORDS))
        return Mark(MarkKind(kind_and_socket & 0xFF), begin_ns, end_ns, value, kind_and_socket >> 8, size)

    def _word(self, at: int) -> int:
        (value,) = struct.unpack_from("=Q", self._memory, _WORD * at)
        return int(value)

    def _words(self, at: int, count: int) -> bytes:
        return self._memory[_WORD * at : _WORD * (at + count)]
