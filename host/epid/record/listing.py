"""Lists run files without reading their data."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.records import Header, Metadata
from mcap.stream_reader import StreamReader

from ..errors import RunFileError
from .topics import PROFILE


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return one map per run file in `folder` and per ambient recording under it, oldest first; other files are passed over."""
    if not folder.is_dir():
        raise RunFileError(f"there is no folder {folder}; name the one given to `epid serve --runs`")
    found = [_entry(path) for path in [*sorted(folder.glob("*.mcap")), *sorted(folder.glob("ambient/*.mcap"))]]
    return sorted((entry for entry in found if entry), key=lambda entry: str(entry["utc"]))


def _entry(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as stream:
        try:
            records = iter(StreamReader(stream).records)
            header, metadata = next(records), next(records)
        except (McapError, StopIteration, struct.error):
            return None
    if not isinstance(header, Header) or header.profile != PROFILE or not isinstance(metadata, Metadata):
        return None
    known = metadata.metadata
    return {
        "path": str(path),
        "run": known.get("run", ""),
        "label": known.get("label", ""),
        "node": known.get("node", ""),
        "utc": known.get("utc", ""),
        "status": "indexed" if _has_index(path) else "open or cut off",
    }


def _has_index(path: Path) -> bool:
    """A finished MCAP file ends with its magic; one that is open or was cut off does not."""
    with path.open("rb") as stream:
        magic = stream.read(8)
        stream.seek(-8, 2)
        return stream.read(8) == magic
