"""A run's messages in a local file, for a node without a daemon.

The format: a sequence of msgpack arrays of two, each a message of the wire, `[kind, body]`, in the order

    ["events", {"format": 1, "protocol": PROTOCOL_VERSION, "node_ns": …, "utc_ns": …, "boot": …}]     both clocks, read together
    ["hello", …]  ["run_begin", …]  ["spans", …] …  ["run_end", …]                         bodies as in epi_protocol.events

`boot` is the kernel's name of this boot, in which alone `node_ns` means something. A file cut off in the middle is whole up to
its last whole message. While it is written its name ends in `.part`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from epi_protocol import PROTOCOL_VERSION, events

from ..clock import node_ns
from ..errors import HookrunError

FORMAT = 1
_PAIR = b"\x92"  # msgpack's header of an array of two


class EventFile:
    """Appends messages to `path`.part and gives the file its name when it is complete."""

    def __init__(self, path: Path, hello: list[bytes]) -> None:
        self.path = path
        self.failure: str | None = None
        """Why nothing more can be written, in one sentence."""
        self._part = path.with_name(path.name + ".part")
        try:
            self._file = self._part.open("wb", buffering=1 << 16)
        except OSError as error:
            raise HookrunError(f"cannot write {self._part}: {error.strerror or error}") from None
        header = {
            "format": FORMAT,
            "protocol": PROTOCOL_VERSION,
            "node_ns": node_ns(),
            "utc_ns": time.time_ns(),
            "boot": boot_id(),
        }
        self.write([b"events", events.pack("hello", header)[1]])
        self.write(hello)

    def write(self, frames: list[bytes]) -> None:
        """Append one message; a full disk ends the writing, not the measurement."""
        kind, body = frames
        self._attempt(lambda: self._file.write(_PAIR + msgpack.packb(kind.decode()) + body))

    def flush(self) -> None:
        """Hand what was written to the system, so that it survives this process."""
        self._attempt(self._file.flush)

    def close(self) -> None:
        """Complete the file under its own name; one that could not be written whole keeps `.part`."""
        self._attempt(self._file.flush)
        self._attempt(lambda: os.fsync(self._file.fileno()))
        self._attempt(self._file.close)
        if self.failure is None:
            self._attempt(lambda: self._part.replace(self.path))

    def discard(self) -> None:
        """Leave no file: nothing was measured."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self.failure is not None:
            return
        try:
            action()
        except OSError as error:
            self.failure = f"{self._part} holds only what fitted: {error.strerror or error}"


def boot_id(proc: Path = Path("/proc")) -> str:
    """Return the kernel's name of this boot."""
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def messages(file: BinaryIO) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (kind, body, offset behind it) of each whole message of an event file."""
    unpacker = msgpack.Unpacker(file)
    while True:
        try:
            kind, body = unpacker.unpack()
        except (msgpack.OutOfData, ValueError, TypeError):
            return
        yield kind, body, unpacker.tell()


def write_end(file: BinaryIO, run_end: dict[str, Any]) -> None:
    """Append the last message to a file whose writer is gone, and have it on disk."""
    kind, body = events.pack("run_end", run_end)
    file.write(_PAIR + msgpack.packb(kind.decode()) + body)
    file.flush()
    os.fsync(file.fileno())
