"""A node's event file into the run files: a run that no daemon heard of, or the rest of one that it heard in part.

Nothing is stored twice: batches are known by their numbers, files by their checksum. The new file is written under another name
and takes its own at the end.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epi_protocol import PROTOCOL_VERSION
from epi_protocol.errors import ProtocolError

from .. import __version__
from ..errors import RunFileError
from ..record.event_file import EventFile, read_event_file
from ..record.naming import new_run_path, run_parts
from ..record.reader import RunFile
from ..record.topics import NOTE_TOPIC, node_topic, split_topic
from ..record.writer import RunWriter
from .gate import check_run_begin, node_name, run_id, text


@dataclass(frozen=True, slots=True)
class Imported:
    """The file that was made; `batches` of spans in it, `spans` altogether, `missing` batches that stand nowhere."""

    path: Path
    run: str
    batches: int
    spans: int
    missing: int
    status: str


@dataclass
class _Stored:
    """What the run files of a folder hold of one run."""

    parts: list[Path]
    seqs: set[int]
    ended: bool = False

    @property
    def name(self) -> str:
        """The file a person knows the run by."""
        return str(self.parts[0])


def import_events(path: Path, folder: Path, cut_off: bool, host_now_ns: Callable[[], int]) -> Imported:
    """Put an event file into `folder`, stamped with the moment it is read; RunFileError says why it cannot be.

    `cut_off`: take a file whose end is missing too, as an aborted run.
    """
    file = read_event_file(path)
    node = _check(file)
    if file.end is None and not cut_off:
        raise RunFileError(
            f"{path} is cut off after {file.whole_bytes} bytes: copy it from the node again, or take what is there with --cut-off"
        )
    stored = _stored(folder, file)
    new = set(file.seqs) - stored.seqs
    if stored.parts and not new and (stored.ended or file.end is None):
        raise RunFileError(f"nothing to import: run {file.run} stands in {stored.name}, with all that {path} holds")
    if not stored.parts and (missing := _missing(file, stored)):
        raise RunFileError(
            f"{path} is the rest of run {file.run} ({len(missing)} batches of spans went to a daemon before), and no file of "
            f"that run is in {folder}; name the right folder with --runs"
        )
    utc = datetime.fromtimestamp(file.head.get("utc_ns", 0) / 1e9, UTC)
    target = new_run_path(folder, file.run, (text(file.begin, "label"), node), utc)
    return _write(file, node, target, new, len(_missing(file, stored)), utc, host_now_ns())


def _check(file: EventFile) -> str:
    """Check what the daemon would check of the same messages; return the node's name."""
    try:
        run_id(file.begin)
        check_run_begin(file.begin)
        if not isinstance(file.head.get("utc_ns"), int):
            raise ProtocolError("a head without utc_ns")
        return node_name(file.hello)
    except ProtocolError as error:
        raise RunFileError(f"{file.path} holds what no node writes: {error}") from error


def _stored(folder: Path, file: EventFile) -> _Stored:
    """Look through the files of the run; RunFileError where this very file is among them."""
    stored = _Stored(run_parts(folder, file.run), set())
    for part in stored.parts:
        run = RunFile(part)
        for message in run.messages():
            _side, _node, kind = split_topic(message.topic)
            if kind == "spans":
                stored.seqs.add(message.body["body"]["seq"])
            stored.ended |= kind == "run" and message.body["kind"] == "run_end" and "node_ns" in message.body["body"]
        if run.metadata.get("events_sha256") == file.sha256:
            raise RunFileError(f"{file.path} was imported already, into {part}")
    return stored


def _missing(file: EventFile, stored: _Stored) -> set[int]:
    """Batches before the last one that stand neither here nor there."""
    known = stored.seqs | set(file.seqs)
    missing = set(range(max(known, default=-1) + 1)) - known
    if not known and file.end is not None and file.end.get("spans"):
        missing.add(0)
    return missing


def _write(file: EventFile, node: str, target: Path, new: set[int], missing: int, utc: datetime, now_ns: int) -> Imported:
    unfinished = target.with_suffix(".importing")
    unfinished.unlink(missing_ok=True)
    writer = RunWriter(unfinished, _metadata(file, node, utc, now_ns), f"epid {__version__}")
    try:
        spans = _write_messages(writer, file, node, new, now_ns)
        status = text(file.end, "status") or "complete" if file.end else "aborted: the event file was cut off"
        if missing:
            note = f"{missing} batches of spans stand neither in the event file nor in another file of the run"
            writer.write(NOTE_TOPIC, now_ns, {"host_ns": now_ns, "level": 1, "text": note})
        writer.close({"status": status, "spans": str(spans), "dropped": str((file.end or {}).get("dropped", 0))})
        os.link(unfinished, target)  # unlike replace, this never takes the place of a file that came meanwhile
    except OSError as error:
        raise RunFileError(f"cannot write {target}: {error.strerror}") from error
    finally:
        writer.abandon()
        unfinished.unlink(missing_ok=True)
    return Imported(target, file.run, len(new), spans, missing, status)


def _metadata(file: EventFile, node: str, utc: datetime, now_ns: int) -> dict[str, str]:
    """What stands at the head of the new file, as of one that the daemon records, and where it came from."""
    run = {"run": file.run, "label": text(file.begin, "label"), "node": node, "channel": "", "host_ns": str(now_ns)}
    origin = {"events": file.path.name, "events_sha256": file.sha256, "utc": utc.isoformat(timespec="seconds")}
    return run | origin | {"host": platform.node(), "epid": __version__, "protocol": str(PROTOCOL_VERSION)}


def _write_messages(writer: RunWriter, file: EventFile, node: str, new: set[int], now_ns: int) -> int:
    """Write what came from the node in the order it was made; return how many spans."""

    def write(kind: str, body: dict[str, Any]) -> None:
        writer.write(node_topic(node, kind), now_ns, {"host_ns": now_ns, **body})

    note = f"imported from {file.path.name}, which the node wrote without a daemon"
    writer.write(NOTE_TOPIC, now_ns, {"host_ns": now_ns, "level": 0, "text": note})
    write("run", {"kind": "run_begin", "body": file.begin})
    write("hello", {"body": file.hello})
    spans = 0
    for kind, body in file.messages():
        if kind == "telemetry":
            write("telemetry", {"body": body})
        elif body["seq"] in new:
            spans += body["count"]
            write("spans", {"body": body})
    if file.end is not None:
        write("run", {"kind": "run_end", "body": file.end})
    return spans
