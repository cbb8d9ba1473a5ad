"""Reads run files, whole or damaged: everything before a cut, and every intact chunk around a broken one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Footer, Header, Message, Metadata, Statistics
from mcap.stream_reader import StreamReader, breakup_chunk

from ..errors import RunFileError
from .topics import FORMAT_VERSION, PROFILE

_MAX_RECORD_BYTES = 1 << 28
_BROKEN = (
    McapError,
    struct.error,
    zstandard.ZstdError,
    ValueError,
    msgpack.exceptions.UnpackException,
    MemoryError,  # a damaged length asks for more bytes than any machine has
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class RunMessage:
    """One message of a run file."""

    topic: str
    host_ns: int
    body: dict[str, Any]


@dataclass
class RunFile:
    """A run file being read. `damage` fills with one sentence per fault while `messages` runs."""

    path: Path
    metadata: dict[str, str] = field(default_factory=dict)
    end: dict[str, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    complete: bool = False
    read: int = 0

    def messages(self) -> Iterator[RunMessage]:
        """Yield all messages in the order they were written.

        Raises RunFileError where the file cannot be opened, is no run file, or comes from a newer version.
        """
        try:
            with self.path.open("rb") as stream:
                yield from self._messages(stream)
        except OSError as error:
            raise RunFileError(f"cannot read {self.path}: {error.strerror}") from error

    def _messages(self, stream: BinaryIO) -> Iterator[RunMessage]:
        topics: dict[int, str] = {}
        records = iter(StreamReader(stream, emit_chunks=True, record_size_limit=_MAX_RECORD_BYTES).records)
        header = self._next(records, stream)
        if not isinstance(header, Header) or header.profile != PROFILE:
            raise RunFileError(f"{self.path} is not a run file of epid (an MCAP file with profile {PROFILE!r})")
        while (record := self._next(records, stream)) is not None:
            if isinstance(record, Chunk):
                yield from self._chunk(record, topics)
            elif isinstance(record, Metadata):
                self._take_metadata(record)
            elif isinstance(record, Statistics):
                self._expect(record.message_count)
            elif isinstance(record, Footer):
                self.complete = True

    def _next(self, records: Iterator[Any], stream: BinaryIO) -> Any:
        try:
            return next(records)
        except StopIteration:
            return None
        except _BROKEN:
            self.damage.append(f"{self.path.name} cannot be read beyond byte {stream.tell()}: it was cut off or damaged there")
            return None

    def _chunk(self, chunk: Chunk, topics: dict[int, str]) -> Iterator[RunMessage]:
        try:
            records = breakup_chunk(chunk, validate_crc=True)
        except _BROKEN as error:
            self.damage.append(f"{self.path.name}: a damaged chunk was skipped ({error})")
            return
        for record in records:
            if isinstance(record, Channel):
                topics[record.id] = record.topic
            elif isinstance(record, Message):
                message = self._message(record, topics)
                if message is not None:
                    self.read += 1
                    yield message

    def _message(self, record: Message, topics: dict[int, str]) -> RunMessage | None:
        topic = topics.get(record.channel_id, "")
        try:
            body = msgpack.unpackb(record.data)
        except _BROKEN as error:
            self.damage.append(f"{self.path.name}: a message on {topic or 'an unknown topic'} was skipped ({error})")
            return None
        if not topic or not isinstance(body, dict):
            self.damage.append(f"{self.path.name}: a message on {topic or 'an unknown topic'} was skipped (not a map)")
            return None
        return RunMessage(topic, record.log_time, body)

    def _expect(self, written: int) -> None:
        if written != self.read and not self.damage:
            self.damage.append(f"{self.path.name}: {written - self.read} of {written} messages are missing")

    def _take_metadata(self, record: Metadata) -> None:
        if record.name == "run":
            self.metadata.update(record.metadata)
            version = record.metadata.get("format", "")
            if version != str(FORMAT_VERSION):
                remedy = "read it with the release that wrote it" if version < str(FORMAT_VERSION) else "update epid"
                raise RunFileError(f"{self.path} has format {version or '?'}, this program reads {FORMAT_VERSION}; {remedy}")
        elif record.name == "end":
            self.end.update(record.metadata)
