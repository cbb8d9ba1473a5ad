"""Lists run files, and says how long they are, without reading their data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Chunk, Header, Metadata
from mcap.stream_reader import StreamReader

from ..errors import RunFileError
from .topics import PROFILE


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return one map per run file in `folder` and per ambient recording under it, oldest first; other files are passed over."""
    if not folder.is_dir():
        raise RunFileError(f"there is no folder {folder}; name the one given to `epid serve --runs`")
    found = [_entry(path) for path in [*sorted(folder.glob("*.mcap")), *sorted(folder.glob("ambient/*.mcap"))]]
    return sorted((entry for entry in found if entry), key=lambda entry: str(entry["utc"]))


def recorded_ns(path: Path) -> int:
    """Return how much time a run file holds, from its start to its last message; 0 for a file that cannot be read.

    A file with an index is asked for it; of one that was cut off the heads of the chunks are read.
    """
    try:
        with path.open("rb") as stream:
            records = iter(StreamReader(stream, emit_chunks=True).records)
            begin_ns = _began_ns(next(records), next(records))
            end_ns = _indexed_end_ns(stream) if _has_index(path) else _last_chunk_end_ns(records)
    except (OSError, McapError, StopIteration, struct.error, ValueError):
        return 0
    return max(0, end_ns - begin_ns)


def _began_ns(header: Any, metadata: Any) -> int:
    if not isinstance(header, Header) or header.profile != PROFILE or not isinstance(metadata, Metadata):
        raise ValueError("no run file")
    return int(metadata.metadata.get("host_ns", ""))


def _indexed_end_ns(stream: BinaryIO) -> int:
    stream.seek(0)
    summary = SeekingReader(stream).get_summary()
    if summary is None or summary.statistics is None:
        raise ValueError("an index without statistics")
    return summary.statistics.message_end_time


def _last_chunk_end_ns(records: Iterator[Any]) -> int:
    end_ns = 0
    try:
        for record in records:
            end_ns = record.message_end_time if isinstance(record, Chunk) else end_ns
    except (McapError, struct.error):
        return end_ns  # cut off here: what came before counts
    return end_ns


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
