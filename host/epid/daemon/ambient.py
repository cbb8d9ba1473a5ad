"""The meters between runs: a rolling record, for idle baselines and for what happened when nobody measured.

It lives in the folder `ambient` beside the runs, one file per hour and per pause between runs, and keeps so many hours. A failure
to write ends it, never a run.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from epi_protocol import PROTOCOL_VERSION

from .. import __version__
from ..errors import RunFileError
from ..record.writer import RunWriter

FOLDER = "ambient"
FILE_NS = 3_600_000_000_000
_HOUR_S = 3600

Message = tuple[str, int, dict[str, Any]]
"""(topic, host_ns, body)."""


class Ambient:
    """Records what it is given until `pause`; `hours` 0 records nothing. `preroll` returns what a new file starts with."""

    def __init__(self, runs_folder: Path, hours: float, preroll: Callable[[int], Iterable[Message]]) -> None:
        self.folder = runs_folder / FOLDER
        self.failure = ""
        self._hours, self._preroll = hours, preroll
        self._writer: RunWriter | None = None
        self._began_ns = 0

    @property
    def state(self) -> str:
        """What a person wants to know: recording, waiting for a run to end, off, or why it was stopped."""
        if not self._hours:
            return "off"
        return self.failure or ("recording" if self._writer is not None else "waiting")

    def write(self, topic: str, host_ns: int, body: Mapping[str, Any]) -> None:
        """Record one message."""
        if not self._hours or self.failure:
            return
        try:
            if self._writer is None:
                self._writer = self._start(host_ns)
            self._writer.write(topic, host_ns, {"host_ns": host_ns, **body})
        except RunFileError as error:
            self.stop(str(error))

    def due(self, host_ns: int) -> None:
        """Flush; begin a new file every hour, and remove those that are too old."""
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
        self._remove_old()
        utc = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        name = utc.translate(str.maketrans("", "", "-:"))[:15]
        metadata = {"run": f"{host_ns:016x}", "label": "ambient", "node": "", "channel": "", "utc": utc, "host_ns": str(host_ns)}
        about = {"host": platform.node(), "epid": __version__, "protocol": str(PROTOCOL_VERSION)}
        writer = RunWriter(self.folder / f"ambient-{name}Z-{host_ns:016x}.mcap", metadata | about, f"epid {__version__}")
        self._began_ns = host_ns
        for topic, then_ns, body in self._preroll(host_ns):
            writer.write(topic, then_ns, {"host_ns": then_ns, **body})
        return writer

    def _remove_old(self) -> None:
        # Files outlive the daemon, and its clock does not: their age is the one figure that only the wall clock knows.
        oldest_s = time.time() - self._hours * _HOUR_S
        for path in self.folder.glob("ambient-*.mcap"):
            if path.stat().st_mtime < oldest_s:
                path.unlink(missing_ok=True)
