"""A folder in which the program's processes write down how far they came, for the one that looks after them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from .spec import ProgramSpec


class Ledger:
    """One file per fact. Every method is safe in several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls) -> Self:
        """Return a ledger in a new folder."""
        return cls(Path(tempfile.mkdtemp(prefix="hookrun-")))

    @classmethod
    def of(cls, spec: ProgramSpec) -> Self:
        """Return the ledger of this program."""
        return cls(Path(spec.ledger))

    def arm(self, pid: int) -> None:
        """A Python of the program has loaded the hooks."""
        (self.folder / f"armed-{pid}").touch()

    @property
    def armed(self) -> bool:
        """Return whether any Python has loaded them."""
        return any(self.folder.glob("armed-*"))

    def claim(self, pid: int) -> bool:
        """Take the right to record, of which there is one; False where another process has it."""
        try:
            os.close(os.open(self.folder / "claim", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        (self.folder / "claim").write_text(str(pid))
        return True

    def opened(self, pid: int, run: Mapping[str, Any]) -> None:
        """This process has begun a run: what is to be told, should it never end it."""
        part = self.folder / f"part-{pid}"
        part.write_text(json.dumps(dict(run)))
        part.replace(self.folder / f"open-{pid}")

    def closed(self, pid: int) -> None:
        """This process has ended its run."""
        (self.folder / f"open-{pid}").unlink(missing_ok=True)

    def unfinished(self) -> dict[int, dict[str, Any]]:
        """Return the runs that were begun and not ended, by process."""
        return {int(path.name.removeprefix("open-")): json.loads(path.read_text()) for path in self.folder.glob("open-*")}

    @property
    def firmware(self) -> Path:
        """Return the file in which the watcher keeps what the board's firmware said last."""
        return self.folder / "firmware"

    @property
    def recording(self) -> bool:
        """Return whether a run is open."""
        return any(self.folder.glob("open-*"))

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)
