"""What a long ranking has found so far: one line per layer in a file, written as it goes and read back at the next start."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from epi_surgery.errors import SurgeryError


class Journal:
    """Finished rows of scores, kept in `path` where one is given; a context manager.

    The first line is `key`: the model, text and settings that the rows belong to. A journal of anything else is refused. A
    last line that was cut short by a crash is dropped and measured again.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self.rows: dict[int, tuple[float, ...]] = {}
        self._path, self._key = path, key
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
            self._read(lines)
            self._file = self._path.open("w", encoding="utf-8")
            self._write({"journal": self._key})
            for layer, row in self.rows.items():
                self._write({"layer": layer, "scores": row})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, layer: int, scores: Sequence[float]) -> None:
        """Keep one layer's finished scores."""
        self.rows[layer] = tuple(scores)
        if self._file is not None:
            self._write({"layer": layer, "scores": list(scores)})

    def discard(self) -> None:
        """Delete the file: the scores stand elsewhere now."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, lines: Sequence[str]) -> None:
        entries = [entry for line in lines if (entry := _parsed(line)) is not None]
        if entries and entries[0].get("journal") != self._key:
            raise SurgeryError(
                f"{self._path}: belongs to a ranking of another model, text or setting; "
                "repeat that one's options to go on, or delete the file to begin anew"
            )
        self.rows = {int(entry["layer"]): tuple(entry["scores"]) for entry in entries[1:]}

    def _write(self, entry: object) -> None:
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(line)
        return found
    except ValueError:
        return None  # cut short by a crash
