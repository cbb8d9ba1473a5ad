"""Marks of an outside instrument: when it saw the load rise or fall, on the daemon's clock; a check that shares nothing with
the meter and its way of telling time.

A mark file is CSV with the head `host_ns,level`: a CLOCK_MONOTONIC_RAW stamp of the daemon's computer, and 1 where the load rose
or 0 where it fell. `epid marks` makes one from a serial line; any logic analyser's export can be brought into the same form.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import RunFileError

HEAD = ("host_ns", "level")
_LEVELS = {ord("0"): 0, ord("1"): 1}


@dataclass(frozen=True, slots=True)
class Mark:
    """One step of the load: `level` 1 where it rose, 0 where it fell."""

    host_ns: int
    level: int


def read_marks(path: Path) -> list[Mark]:
    """Return the marks of a file in order of time; RunFileError names the line that is none."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise RunFileError(f"cannot read the marks in {path}: {getattr(error, 'strerror', None) or error}") from error
    if not rows or tuple(rows[0]) != HEAD:
        raise RunFileError(f"{path} holds no marks: its first line is not {','.join(HEAD)}")
    return sorted((_mark(path, number, row) for number, row in enumerate(rows[1:], 2)), key=lambda mark: mark.host_ns)


def _mark(path: Path, number: int, row: list[str]) -> Mark:
    try:
        host_ns, level = (int(field) for field in row)
    except ValueError:
        level = host_ns = -1
    if level not in (0, 1):
        raise RunFileError(f"{path}, line {number}: {','.join(row)!r} is no stamp in nanoseconds and a 0 or 1")
    return Mark(host_ns, level)


def marks_of(read: Callable[[], bytes], now_ns: Callable[[], int]) -> Iterator[Mark]:
    """Yield a mark for each `1` and `0` that a line brings, stamped as it comes; anything else is passed over."""
    while data := read():
        host_ns = now_ns()
        yield from (Mark(host_ns, _LEVELS[byte]) for byte in data if byte in _LEVELS)


def write_marks(path: Path, marks: Iterator[Mark], on_mark: Callable[[int], None]) -> int:
    """Write marks as they come, and give the file its name at the end, however that comes; return how many.

    `on_mark` is called with the count. RunFileError where the file is there already, or cannot be written.
    """
    if path.exists():
        raise RunFileError(f"{path} exists already; name another file with --out")
    unfinished, count = path.with_name(path.name + ".part"), 0
    try:
        with unfinished.open("w", encoding="utf-8") as stream:
            try:
                print(*HEAD, sep=",", file=stream, flush=True)
                for count, mark in enumerate(marks, 1):
                    print(mark.host_ns, mark.level, sep=",", file=stream, flush=True)
                    on_mark(count)
            finally:
                stream.flush()
                os.fsync(stream.fileno())
                unfinished.replace(path)
    except OSError as error:
        raise RunFileError(f"cannot write the marks to {path}: {error.strerror}") from error
    return count
