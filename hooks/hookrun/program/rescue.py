"""An event file whose writer died: cut to its last whole message, ended, and given its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from epi_protocol import events

_PAIR = b"\x92"


def complete(out: Path, ended_ns: int) -> int | None:
    """Turn `out`.part into `out` with a `run_end` of status "aborted"; return its number of spans, or None without a file."""
    part = out.with_name(out.name + ".part")
    if not part.exists():
        return None
    with part.open("r+b") as file:
        run, spans, dropped, end = "", 0, 0, 0
        for kind, body, behind in _messages(file):
            end = behind
            run = body.get("run", run)
            if kind == "spans":
                spans, dropped = spans + body["count"], body["dropped"]
        file.truncate(end)
        file.seek(end)
        frames = events.pack(
            "run_end", {"run": run, "node_ns": ended_ns, "status": "aborted", "spans": spans, "dropped": dropped}
        )
        file.write(_PAIR + msgpack.packb(frames[0].decode()) + frames[1])
        file.flush()
        os.fsync(file.fileno())
    part.replace(out)
    return spans


def _messages(file: BinaryIO) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (kind, body, offset behind it) of each whole message."""
    unpacker = msgpack.Unpacker(file)
    while True:
        try:
            kind, body = unpacker.unpack()
        except (msgpack.OutOfData, ValueError):
            return
        yield kind, body, unpacker.tell()
