"""sha256 of model files: of one that is being written, on a second core; of one that was hashed before, from memory.

A hash takes longer than a copy. What a file hashed to is therefore remembered in the user's cache folder under everything
the file system would change along with its content: device, inode, size, modification and change time.
"""

import hashlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import CHUNK_BYTES
from epi_surgery.output import write_text

_MAX_REMEMBERED = 256
_QUEUED_CHUNKS = 4
# A file changed twice within one tick of the file system's clock looks unchanged: trust only files that have rested.
_REST_NS = 2_000_000_000


class HashingWriter:
    """Writes to `file` and hashes the same bytes in a thread; a context manager, `hexdigest` after it has closed.

    Chunks go over, and free places come back, on two C-level queues: a bounded `queue.Queue` locks in Python code, where
    Ctrl-C at the wrong instant leaves the lock taken for ever.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_QUEUED_CHUNKS):
            self._places.put(None)
        self._thread = threading.Thread(target=self._hash, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._chunks.put(None)
        self._thread.join()

    def write(self, data: bytes) -> None:
        """Write and hash; raises what the file raises."""
        self._places.get()
        self._chunks.put(data)
        self._file.write(data)

    def hexdigest(self) -> str:
        """The sha256 of all that was written, hex."""
        return self._digest.hexdigest()

    def _hash(self) -> None:
        while (data := self._chunks.get()) is not None:
            self._digest.update(data)
            self._places.put(None)


def file_sha256(path: Path, cache: Path | None, advance: Callable[[int], None]) -> str:
    """The sha256 of a file, hex; looked up in and added to the `cache` file where one is given."""
    stat = path.stat()
    key = f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
    known = _remembered(cache)
    if key in known:
        advance(stat.st_size)
        return known[key]
    found = _read_sha256(path, advance)
    if cache is not None and time.time_ns() - stat.st_ctime_ns > _REST_NS and path.stat().st_ctime_ns == stat.st_ctime_ns:
        _remember(cache, {**known, key: found})
    return found


def default_cache() -> Path:
    """Where hashes are remembered: epi-surgery/sha256.json in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "epi-surgery" / "sha256.json"


def _read_sha256(path: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _remembered(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        body = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no cache yet, or a damaged one: hash again
    return {str(key): str(value) for key, value in body.items()} if isinstance(body, dict) else {}


def _remember(cache: Path, known: dict[str, str]) -> None:
    newest = dict(list(known.items())[-_MAX_REMEMBERED:])
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps(newest, indent=0))
    except (OSError, SurgeryError):
        return  # a cache that cannot be written only costs time
