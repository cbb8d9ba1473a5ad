"""Reads a node's event file: what `hookrun --out` writes where no daemon listens, and what a daemon never acknowledged.

A sequence of msgpack arrays of two, `[kind, body]`, each a message of the wire, behind a head that names the format:

    ["events", {"format": 1, "protocol": …, "node_ns": …, "utc_ns": …}]
    ["hello", …]  ["run_begin", …]  ["spans", …]  ["telemetry", …]  …  ["run_end", …]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from epi_protocol import events
from epi_protocol.errors import ProtocolError, VersionError

from ..errors import RunFileError

FORMAT = 1
_ORDER = ("events", "hello", "run_begin")
_INSIDE = ("spans", "telemetry")
_BROKEN = (ValueError, msgpack.exceptions.UnpackException)


@dataclass(frozen=True, slots=True)
class EventFile:
    """A checked event file: its head, the node's hello, the run's begin, and which batches of spans it holds.

    `end` is the run_end, or None in a file that was cut off; `whole_bytes` is how much of it can be read.
    """

    path: Path
    head: dict[str, Any]
    hello: dict[str, Any]
    begin: dict[str, Any]
    end: dict[str, Any] | None
    seqs: tuple[int, ...]
    sha256: str
    whole_bytes: int

    @property
    def run(self) -> str:
        """Id of the run."""
        return str(self.begin["run"])

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (kind, body) of the spans and telemetry, in order."""
        for _at, kind, body in _messages(self.path, self.whole_bytes):
            if kind in _INSIDE:
                yield kind, body


@dataclass
class _Look:
    """What has been seen of a file so far."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    seqs: list[int] = field(default_factory=list)
    whole_bytes: int = 0

    def take(self, path: Path, kind: str, body: dict[str, Any]) -> None:
        expected = [next((name for name in _ORDER if name not in self.found), "")]
        expected = expected if expected[0] else [*_INSIDE, "run_end"]
        if kind not in expected or "run_end" in self.found:
            raise ProtocolError(f"a message {kind!r} where it cannot stand")
        if kind == "events":
            _check_head(path, body)
        elif kind in _INSIDE or kind == "run_end":
            self._take_inside(kind, body)
        if kind not in _INSIDE:
            self.found[kind] = body

    def _take_inside(self, kind: str, body: dict[str, Any]) -> None:
        if body.get("run") != self.found["run_begin"].get("run"):
            raise ProtocolError(f"a message {kind!r} of another run")
        if kind == "spans":
            self.seqs.append(events.span_batch(body).seq)
        elif kind == "telemetry":
            events.readings(body)


def read_event_file(path: Path) -> EventFile:
    """Read and check a file to its end; RunFileError where it is no event file, or holds what no node writes."""
    look, at = _Look(), 0
    try:
        for end, kind, body in _messages(path):
            look.take(path, kind, body)
            at = look.whole_bytes = end
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RunFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ProtocolError, *_BROKEN) as error:
        if not look.found:
            raise RunFileError(f"{path} is no event file of hookrun") from error
        raise RunFileError(f"{path} is damaged behind byte {at} ({error}); copy it from the node again") from error
    if "run_begin" not in look.found:
        raise RunFileError(f"{path} holds no begin of a run: nothing was measured")
    found = look.found
    return EventFile(
        path, found["events"], found["hello"], found["run_begin"], found.get("run_end"), tuple(look.seqs), sha256, at
    )


def _messages(path: Path, size: int | None = None) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield (offset behind it, kind, body) of each whole message in the first `size` bytes."""
    with path.open("rb") as stream:
        unpacker = msgpack.Unpacker(stream, strict_map_key=True)
        while size is None or unpacker.tell() < size:
            try:
                pair = unpacker.unpack()
            except msgpack.OutOfData:
                return
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], dict)):
                raise ProtocolError("something that is no message")
            yield unpacker.tell(), pair[0], pair[1]


def _check_head(path: Path, head: dict[str, Any]) -> None:
    if head.get("format") != FORMAT:
        raise RunFileError(f"{path} has format {head.get('format')}, this program reads {FORMAT}; bring both to the same release")
    try:
        events.check_version(head, f"the node that wrote {path}")
    except VersionError as error:
        raise RunFileError(str(error)) from error
