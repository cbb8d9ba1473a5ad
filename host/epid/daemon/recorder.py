"""Writes what the daemon hears into the open run files: every board into every run, a node's spans into its own."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from epi_protocol import PROTOCOL_VERSION, events

from .. import __version__
from ..errors import RunFileError, UsageError
from ..record.naming import new_run_path
from ..record.topics import NOTE_TOPIC, node_topic
from ..record.writer import RunWriter
from .ambient import Ambient
from .disk import Disk, Room
from .gate import MAX_RUNS, run_id, text
from .open_run import FIRST_UNKNOWN, Closed, OpenRun

PREROLL_NS = 125_000_000_000
"""How far back a new run file reaches for clock exchanges, so that its first samples already stand on a fitted clock."""

SAMPLE_PREROLL_NS = 3_000_000_000


class Recorder:
    """Open runs, and the last moments before any of them for the next one to start with."""

    def __init__(
        self,
        folder: Path,
        channels: Mapping[str, str],
        disk: Disk,
        ambient_hours: float = 0.0,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self.disk = disk
        self.ambient = Ambient(folder, ambient_hours, self._last_moments)
        self._utc_now = utc_now
        self.channels = dict(channels)
        self.runs: dict[str, OpenRun] = {}
        self.failed: list[Closed] = []
        self._hellos: dict[str, tuple[int, dict[str, Any]]] = {}
        self._preroll: deque[tuple[str, int, dict[str, Any]]] = deque()

    def open(self, node: str, body: Mapping[str, Any], host_ns: int) -> OpenRun:
        """Start the run that a node's `run_begin` asks for, or go on with it where it is still open."""
        run, label = run_id(body), text(body, "label")
        if run in self.runs and self.runs[run].node == node:
            return self.runs[run]
        if len(self.runs) >= MAX_RUNS:
            raise UsageError(f"{MAX_RUNS} runs are open already; end some of them")
        self._check_disk()
        self.ambient.pause()
        opened = OpenRun(run, label, node, self._start_file(run, label, node, host_ns))
        opened.next_seq = FIRST_UNKNOWN if body.get("resume") else 0
        self.runs[run] = opened
        self._write_preroll(opened, host_ns)
        self._write(opened, node_topic(node, "run"), host_ns, {"kind": "run_begin", "body": dict(body)})
        return opened

    def spans(self, node: str, batch: events.SpanBatch, host_ns: int) -> OpenRun:
        """Record a batch once; a batch that was recorded before is only acknowledged again."""
        opened = self.runs.get(batch.run)
        if opened is None or opened.node != node:
            raise UsageError(f"spans for run {batch.run!r}, which is not open")
        if batch.seq >= opened.next_seq:
            if batch.seq > opened.next_seq != FIRST_UNKNOWN:
                self.note(1, f"run {batch.run}: batches {opened.next_seq} to {batch.seq - 1} never came", host_ns)
            opened.next_seq = batch.seq + 1
            opened.spans += batch.count
            opened.dropped = max(opened.dropped, batch.dropped)
            self._write(opened, node_topic(node, "spans"), host_ns, {"body": batch.to_map()})
        opened.unacked.append(batch.seq)
        return opened

    def board(self, topic: str, host_ns: int, body: dict[str, Any], *, hello: bool = False) -> None:
        """Record one message of a board in every open run, and keep it for runs that start soon."""
        if hello:
            self._hellos[topic] = (host_ns, body)
        self._everywhere(topic, host_ns, body)
        if not self.runs:
            self.ambient.write(topic, host_ns, body)
        self._preroll.append((topic, host_ns, body))
        while self._preroll and host_ns - self._preroll[0][1] > PREROLL_NS:
            self._preroll.popleft()

    def node(self, node: str, kind: str, host_ns: int, body: dict[str, Any]) -> None:
        """Record a hello or a clock exchange of a node in the runs of that node."""
        topic = node_topic(node, kind)
        for opened in [run for run in self.runs.values() if run.node == node]:
            self._write(opened, topic, host_ns, body)

    def note(self, level: int, text: str, host_ns: int) -> None:
        """Record in every open run what the daemon itself saw."""
        self._everywhere(NOTE_TOPIC, host_ns, {"level": level, "text": text})

    def end(self, opened: OpenRun, body: Mapping[str, Any], host_ns: int, postroll_ns: int) -> None:
        """Take a node's `run_end`; the file stays open for `postroll_ns` so that the meter's last words reach it."""
        self._write(opened, node_topic(opened.node, "run"), host_ns, {"kind": "run_end", "body": dict(body)})
        opened.end_body = dict(body)
        opened.close_at_ns = host_ns + postroll_ns

    def due(self, host_ns: int) -> list[Closed]:
        """Flush every file, close the runs whose postroll is over, and return them."""
        closed: list[Closed] = []
        self.ambient.due(host_ns)
        for opened in list(self.runs.values()):
            self._guard(opened, partial(opened.writer.flush, host_ns))
            if opened.run in self.runs and opened.end_body is not None and host_ns >= opened.close_at_ns:
                closed += self.close(opened, text(opened.end_body, "status") or "complete")
        return closed

    def close(self, opened: OpenRun, status: str) -> list[Closed]:
        """Close a run's file now and return it; where not even that can be written, nothing: it is among `failed` then."""
        self.runs.pop(opened.run, None)
        try:
            opened.writer.close({"status": status, "spans": str(opened.spans), "dropped": str(opened.dropped)})
        except RunFileError as error:
            self.failed.append(Closed(opened, str(error)))
            return []
        return [Closed(opened, status)]

    def give_up(self, opened: OpenRun, error: RunFileError) -> None:
        """Record a run no further: its file stays readable up to the last flush, the others go on."""
        if self.runs.pop(opened.run, None) is not None:
            opened.writer.abandon()
            self.failed.append(Closed(opened, str(error)))

    def open_files(self) -> list[tuple[RunWriter, Callable[[RunFileError], None]]]:
        """Return every file that is being written, and what to call where it can no longer be."""
        runs = [(opened.writer, partial(self.give_up, opened)) for opened in self.runs.values()]
        return runs + self.ambient.open_files()

    def take_acks(self, opened: OpenRun) -> list[int]:
        """Return and forget the batches that are on disk since the last call; call after a flush."""
        seqs, opened.unacked = opened.unacked, []
        return seqs

    def _start_file(self, run: str, label: str, node: str, host_ns: int) -> RunWriter:
        utc = self._utc_now()  # for people: names and headings only
        path = new_run_path(self.folder, run, (label, node), utc)
        metadata = {
            "run": run,
            "label": label,
            "node": node,
            "channel": self.channels.get(node, ""),
            "utc": utc.isoformat(timespec="seconds"),
            "host_ns": str(host_ns),
            "host": platform.node(),
            "epid": __version__,
            "protocol": str(PROTOCOL_VERSION),
        }
        return RunWriter(path, metadata, f"epid {__version__}")

    def _write_preroll(self, opened: OpenRun, host_ns: int) -> None:
        for topic, then_ns, body in self._last_moments(host_ns):
            self._write(opened, topic, then_ns, body)

    def _last_moments(self, host_ns: int) -> list[tuple[str, int, dict[str, Any]]]:
        """What a new file starts with: the boards' descriptions, their exchanges, and the last of their samples."""
        hellos = [(topic, then_ns, body) for topic, (then_ns, body) in self._hellos.items()]
        recent = [
            (topic, then_ns, body)
            for topic, then_ns, body in self._preroll
            if topic not in self._hellos and not (topic.endswith("/sample") and host_ns - then_ns > SAMPLE_PREROLL_NS)
        ]
        return hellos + recent

    def _everywhere(self, topic: str, host_ns: int, body: dict[str, Any]) -> None:
        for opened in list(self.runs.values()):
            self._write(opened, topic, host_ns, body)

    def _write(self, opened: OpenRun, topic: str, host_ns: int, body: dict[str, Any]) -> None:
        self._guard(opened, partial(opened.writer.write, topic, host_ns, {"host_ns": host_ns, **body}))

    def _guard(self, opened: OpenRun, action: Callable[[], None]) -> None:
        """Do a write; where it fails, give this run up."""
        try:
            action()
        except RunFileError as error:
            self.give_up(opened, error)

    def _check_disk(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.disk.room() is Room.FULL:
            free, needed = self.disk.free_bytes() >> 20, self.disk.reserve_bytes >> 20
            raise RunFileError(f"only {free} MiB are free in {self.folder}; a run needs {needed} MiB to start")
