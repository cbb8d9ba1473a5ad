"""Joules that only rise: what `/metrics` counts, kept in a small file beside the runs.

The board's sums start anew at each boot, and a daemon that starts anew knows none of them: so their rises are added up.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import RunFileError, UsageError

STATE_FILE = ".epid-totals.json"


class Totals:
    """Joules per board and channel, rising across boots of the board and restarts of the daemon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._joules: dict[str, float] = {}
        self._last: dict[str, tuple[str, float]] = {}
        if path.exists():
            self._load()

    def update(self, board: str, boot: str, channel: int, energy_j: float) -> float:
        """Take a board's sum (joules since its boot `boot`) and return the total."""
        key = f"{board}:{channel}"
        last_boot, last_j = self._last.get(key, ("", energy_j))
        rise = energy_j - last_j if last_boot == boot else (energy_j if last_boot else 0.0)
        self._last[key] = (boot, energy_j)
        self._joules[key] = self._joules.get(key, 0.0) + max(0.0, rise)
        return self._joules[key]

    def save(self) -> None:
        """Keep the totals for the next start."""
        self.store(self.text())

    def text(self) -> str:
        """The totals as they are kept."""
        return json.dumps({"joules": self._joules, "last": self._last})

    def store(self, text: str) -> None:
        """Make `text` durable in the file's place, or leave the file as it is; may run in another thread."""
        unfinished = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise RunFileError(f"cannot keep the energy totals in {self._path}: {error.strerror}") from error

    def _load(self) -> None:
        try:
            found = json.loads(self._path.read_text())
            self._joules = {str(key): float(joules) for key, joules in found["joules"].items()}
            self._last = {str(key): (str(boot), float(joules)) for key, (boot, joules) in found["last"].items()}
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            sentence = f"the energy totals in {self._path} cannot be read ({error}); move the file away to start from zero"
            raise UsageError(sentence) from error
