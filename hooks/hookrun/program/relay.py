"""What a Raspberry Pi's firmware says, on its way from the watcher to the program.

`vcgencmd` is a command, and a command started inside the program would be a child of it, which may wait for its children. So the
watcher, which is nobody's child, asks while a run is open, and writes the answer where the program's telemetry reads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..clock import node_ns
from ..node.vcgencmd import Vcgencmd

STALE_NS = 2_000_000_000
"""An older answer is none: the watcher asks twice a second."""


class FirmwareAsker:
    """The watcher's end. `ask` writes what the firmware answers now; `silent` once it is known to answer nothing."""

    def __init__(self, file: Path, vcgencmd: Vcgencmd | None = None, clock: Callable[[], int] = node_ns) -> None:
        self.silent = False
        self._file, self._clock = file, clock
        self._vcgencmd = Vcgencmd() if vcgencmd is None else vcgencmd

    def ask(self) -> None:
        """Ask once; the file is replaced whole."""
        said = {"rails_w": self._vcgencmd.rails_w(), "throttled": self._vcgencmd.throttled(), "node_ns": self._clock()}
        self.silent = self._vcgencmd.silent
        if not self.silent:
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps(said))
            part.replace(self._file)


class RelayedFirmware:
    """The program's end: answers like Vcgencmd, from the file, and starts nothing."""

    def __init__(self, file: Path, clock: Callable[[], int] = node_ns) -> None:
        self._file, self._clock = file, clock

    def rails_w(self) -> dict[str, float]:
        """Return watts by supply rail as they were at most two seconds ago."""
        rails: dict[str, float] = self._said().get("rails_w", {})
        return rails

    def throttled(self) -> int | None:
        """Return the throttling flags, or None."""
        flags: int | None = self._said().get("throttled")
        return flags

    def _said(self) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):  # nothing has been said, or no longer: the watcher takes the folder away at the end
            return {}
        return said if self._clock() - said["node_ns"] < STALE_NS else {}
