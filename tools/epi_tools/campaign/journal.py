"""What a campaign has done so far: one line of JSON per finished trial, on the disk before the next trial starts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import CampaignError
from .order import Trial


@dataclass(frozen=True, slots=True)
class Done:
    """One finished trial; `run` is the path of its run file as the daemon calls it."""

    block: int
    arm: str
    run: str
    seconds: float


class Journal:
    """The file `journal.jsonl` of a campaign. A line that a power cut tore is no finished trial."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open or begin the journal; CampaignError where it belongs to another plan."""
        self.path = path
        self.done: list[Done] = []
        if path.exists():
            self._read(fingerprint)
        else:
            self._append({"campaign": fingerprint})

    def add(self, done: Done) -> None:
        """Write a finished trial down, through to the disk."""
        self._append(asdict(done))
        self.done.append(done)

    def left(self, trials: Sequence[Trial]) -> list[Trial]:
        """Trials that are not done yet, in their order."""
        counts = Counter((done.block, done.arm) for done in self.done)
        return [trial for trial in trials if not counts[trial.block, trial.arm]]

    def _read(self, fingerprint: str) -> None:
        lines = [entry for line in self.path.read_text(encoding="utf-8").splitlines() if (entry := _entry(line)) is not None]
        if not lines or lines[0].get("campaign") != fingerprint:
            raise CampaignError(
                f"{self.path} belongs to another plan (other arms, work, order or seed); choose another folder with --out"
            )
        self.done = [Done(**line) for line in lines[1:]]

    def _append(self, entry: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            if stream.tell() and not self.path.read_bytes().endswith(b"\n"):
                stream.write("\n")
            stream.write(json.dumps(entry) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
