"""What the demo measures, and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ARMS = ("baseline", "pruned")


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo works, and how much it measures."""

    folder: Path
    tokens: int
    repeat: int
    runs: int
    idle_s: float
    threads: int

    def path(self, name: str) -> Path:
        """A file of the demo."""
        return self.folder / name
