"""The meters between runs: a rolling record, for idle baselines and for what happened when nobody measured.

It lives in the folder `ambient` beside the runs, one file per hour and per pause between runs, and keeps so many recorded hours.
Files are numbered, and the lowest number goes first: what the clocks of this computer say is no reason to delete anything. A
failure to write ends the recording, never a run.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from epi_protocol import PROTOCOL_VERSION

from .. import __version__
from ..errors import RunFileError
from ..record.listing import recorded_ns
from ..record.writer import RunWriter

FOLDER = "ambient"
FILE_NS = 3_600_000_000_000

Message = tuple[str, int, dict[str, Any]]
"""(topic, host_ns, body)."""


class Ambient:
    """Records what it is given until `pause`; `hours` 0 records nothing. `preroll` returns what a new file starts with."""

    def __init__(self, runs_folder: Path, hours: float, preroll: Callable[[int], Iterable[Message]]) -> None:
        self.folder = runs_folder / FOLDER
        self.failure = ""
        self._keep_ns, self._preroll = round(hours * 3.6e12), preroll
        self._writer: RunWriter | None = None
        self._began_ns = 0
        self._lengths_ns: dict[Path, int] = {}

    @property
    def state(self) -> str:
        """What a person wants to know: recording, waiting for a run to end, off, or why it was stopped."""
        if not self._keep_ns:
            return "off"
        return self.failure or ("recording" if self._writer is not None else "waiting")

    def open_files(self) -> list[tuple[RunWriter, Callable[[RunFileError], None]]]:
        """Return the file that is being written, if any, and what to call where it can no longer be."""
        return [] if self._writer is None else [(self._writer, lambda error: self.stop(str(error)))]

    def write(self, topic: str, host_ns: int, body: Mapping[str, Any]) -> None:
        """Record one message."""
        if not self._keep_ns or self.failure:
            return
        try:
            if self._writer is None:
                self._writer = self._start(host_ns)
            self._writer.write(topic, host_ns, {"host_ns": host_ns, **body})
        except RunFileError as error:
            self.stop(str(error))

    def due(self, host_ns: int) -> None:
        """Flush; end the file after an hour, so that the next message begins a new one."""
        if self._writer is None:
            return
        if host_ns - self._began_ns >= FILE_NS:
            self.pause()
            return
        try:
            self._writer.flush(host_ns)
        except RunFileError as error:
            self.stop(str(error))

    def pause(self) -> None:
        """Close the current file: a run begins, or the hour is over."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close({"status": "complete"})
            except RunFileError as error:
                self.stop(str(error))

    def stop(self, why: str) -> None:
        """Record no more; `failure` says why."""
        self.failure = why
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()

    def resume(self) -> None:
        """Record again."""
        self.failure = ""

    def _start(self, host_ns: int) -> RunWriter:
        """Begin a file that starts with the last moments, as a run's does; make room for it first."""
        kept = self._remove_old()
        utc = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        name = f"ambient-{_number(kept[-1]) + 1 if kept else 1:06}-{utc.translate(str.maketrans('', '', '-:'))[:15]}Z.mcap"
        metadata = {"run": f"{host_ns:016x}", "label": "ambient", "node": "", "channel": "", "utc": utc, "host_ns": str(host_ns)}
        about = {"host": platform.node(), "epid": __version__, "protocol": str(PROTOCOL_VERSION)}
        writer = RunWriter(self.folder / name, metadata | about, f"epid {__version__}")
        self._began_ns = host_ns
        for topic, then_ns, body in self._preroll(host_ns):
            writer.write(topic, then_ns, {"host_ns": then_ns, **body})
        return writer

    def _remove_old(self) -> list[Path]:
        """Remove what lies further back than the hours to keep, in recorded time from the newest file; return the rest."""
        kept: list[Path] = []
        newer_ns = 0
        for path in sorted(self.folder.glob("ambient-*.mcap"), key=lambda path: (_number(path), path.name), reverse=True):
            if newer_ns >= self._keep_ns:
                self._remove(path)
                continue
            kept.insert(0, path)
            newer_ns += self._length_ns(path)
        return kept

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunFileError(f"cannot remove the old recording {path}: {error.strerror}") from error
        self._lengths_ns.pop(path, None)

    def _length_ns(self, path: Path) -> int:
        """How much a closed file holds; looked up once."""
        if path not in self._lengths_ns:
            self._lengths_ns[path] = recorded_ns(path)
        return self._lengths_ns[path]


def _number(path: Path) -> int:
    """The number in a file's name; 0 where it has none, and then it counts as old."""
    found = re.match(r"ambient-(\d+)-\d{8}T", path.name)
    return int(found[1]) if found else 0
