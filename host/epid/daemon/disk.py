"""How full the disk of the run files is, and what has to stop: first what can be had again, the raw record last."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol


class Room(IntEnum):
    """How much room is left, from plenty to none."""

    PLENTY = 0
    LOW = 1
    SHED = 2
    FULL = 3


class _Free(Protocol):
    @property
    def f_bavail(self) -> int: ...
    @property
    def f_frsize(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds `folder`. `reserve_bytes` are kept free: open runs need them to write their indexes.

    At 16 times the reserve a person is warned, at 4 times the ambient recording stops, at the reserve the runs.
    """

    folder: Path
    reserve_bytes: int = 64 << 20
    statvfs: Callable[[Path], _Free] = os.statvfs

    def free_bytes(self) -> int:
        """What a program without privileges may still write."""
        existing = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        found = self.statvfs(existing)
        return found.f_bavail * found.f_frsize

    def room(self) -> Room:
        """Return how much room there is now."""
        free_bytes = self.free_bytes()
        if free_bytes < self.reserve_bytes:
            return Room.FULL
        if free_bytes < 4 * self.reserve_bytes:
            return Room.SHED
        return Room.LOW if free_bytes < 16 * self.reserve_bytes else Room.PLENTY

    def sentence(self, room: Room) -> str:
        """What a person should know about it."""
        free = f"{self.free_bytes() >> 20} MiB are free for run files in {self.folder}"
        return {
            Room.PLENTY: f"{free} again",
            Room.LOW: f"only {free}; make room, or the recording will stop at {self.reserve_bytes >> 20} MiB",
            Room.SHED: f"only {free}: the ambient recording stops, runs go on",
            Room.FULL: f"only {free}: runs are closed while there is room for their indexes",
        }[room]
