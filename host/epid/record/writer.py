"""Writes one run file so that a crash at any moment loses at most the last half second."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
from mcap.writer import CompressionType, Writer

from ..errors import RunFileError
from .topics import FORMAT_VERSION, PROFILE

FLUSH_NS = 500_000_000
"""Longest time that a message stays in memory only."""

CHUNK_BYTES = 1 << 20
"""A chunk that has grown to this size is closed before its time."""

_NEVER_BY_ITSELF = 1 << 40


class RunWriter:
    """An open run file. Not thread-safe: one task writes.

    Messages gather in a chunk; `flush` closes the chunk (checksummed, compressed) and hands it to the operating system. Each
    chunk names all its channels anew, so that a damaged one takes nothing but its own messages with it.
    An OSError (disk full, stick pulled) surfaces as RunFileError from the call that met it; what was flushed before stays
    readable.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str], library: str) -> None:
        self.path = path
        self.messages = 0
        self.pending_bytes = 0
        """What waits in memory for the next flush."""
        self._channels: dict[str, int] = {}
        self._flushed_ns = 0
        self._named = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("xb")
            self._mcap = Writer(self._file, chunk_size=_NEVER_BY_ITSELF, compression=CompressionType.ZSTD, enable_data_crcs=False)
            self._mcap.start(profile=PROFILE, library=library)
            self._mcap.add_metadata("run", {"format": str(FORMAT_VERSION), **metadata})
            self._file.flush()
        except OSError as error:
            raise RunFileError(f"cannot start the run file {path}: {_reason(error)}") from error

    def write(self, topic: str, host_ns: int, body: Mapping[str, Any]) -> None:
        """Add one message at `host_ns`; flushes by itself when FLUSH_NS have passed since the last flush."""
        data = msgpack.packb(body)
        if not self.pending_bytes:
            self._repeat_channels()
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._mcap.register_channel(topic, "msgpack", 0)
        self._mcap.add_message(channel, log_time=host_ns, publish_time=host_ns, data=data)
        self.messages += 1
        self.pending_bytes += len(data)
        if self._flushed_ns == 0:
            self._flushed_ns = host_ns
        if host_ns - self._flushed_ns >= FLUSH_NS or self.pending_bytes >= CHUNK_BYTES:
            self.flush(host_ns)

    def flush(self, host_ns: int) -> None:
        """Close the current chunk and hand everything to the operating system."""
        try:
            if self.pending_bytes:
                # mcap closes chunks by size only, and a quiet run would keep minutes in memory. The call is private to the
                # library; the constraints file holds its version, and a test reads back what stands before a cut.
                self._mcap._Writer__finalize_chunk()
                self.pending_bytes = 0
            self._file.flush()
        except OSError as error:
            raise RunFileError(f"cannot write to the run file {self.path}: {_reason(error)}") from error
        self._flushed_ns = host_ns

    def sync(self) -> None:
        """Make durable what was flushed, and at first the name; may run in another thread, takes as long as the disk does."""
        try:
            os.fdatasync(self._file.fileno())
            if not self._named:
                _sync_folder(self.path.parent)
                self._named = True
        except (OSError, ValueError) as error:
            if not self._file.closed:  # closed meanwhile: it was made durable then
                raise RunFileError(f"cannot write to the run file {self.path}: {error}") from error

    def close(self, metadata: Mapping[str, str]) -> None:
        """Write the closing metadata and the index, and make the file durable."""
        try:
            self._mcap.add_metadata("end", dict(metadata))
            self._mcap.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunFileError(f"cannot finish the run file {self.path}: {_reason(error)}") from error
        finally:
            self._close_file()

    def abandon(self) -> None:
        """Leave the file as it stands: without index, readable up to the last flush."""
        self._close_file()

    def _repeat_channels(self) -> None:
        # Private to the library like the call in `flush`: it names a channel only in the chunk of its first message.
        for channel in self._mcap._Writer__channels.values():
            self._mcap._Writer__chunk_builder.add_channel(channel)

    def _close_file(self) -> None:
        # A full disk makes close() fail as well, on the very bytes whose loss was reported already.
        try:
            self._file.close()
        except OSError:
            os.close(self._file.fileno()) if not self._file.closed else None


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
