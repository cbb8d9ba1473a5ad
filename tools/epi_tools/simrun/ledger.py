"""`truth.json`: the truths of all simulated runs in a folder by file name, and what their arms take on average."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.experiment import Written

FORMAT, VERSION = "epi simulated truth", 1


class TruthLedger:
    """Adds runs to `path`; what stands there of other runs stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _read(path)

    def add_arms(self, arms: dict[str, dict[str, Any]]) -> None:
        """Note what arms take on average."""
        self._content["arms"] |= arms

    def add(self, written: Written) -> None:
        """Write the file with one more run in it, whole. Raises OSError."""
        self._content["runs"][written.run.name] = written.truth
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    fresh: dict[str, Any] = {"format": FORMAT, "version": VERSION, "simulated": True, "arms": {}, "runs": {}}
    if not path.exists():
        return fresh
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    sections = [content.get(name) for name in ("arms", "runs")] if isinstance(content, dict) else []
    if not all(isinstance(section, dict) for section in sections) or not sections or content.get("format") != FORMAT:
        raise TruthError(f"{path} is no ledger of simulated runs: move it away, or give another folder with --out.")
    return content
