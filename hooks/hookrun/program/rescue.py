"""An event file whose writer died: cut to its last whole message, ended, and given its name."""

from __future__ import annotations

from pathlib import Path

from ..sending.eventfile import messages, write_end


def complete(out: Path, ended_ns: int) -> int | None:
    """Turn `out`.part into `out` with a `run_end` of status "aborted"; return its number of spans, or None without a file."""
    part = out.with_name(out.name + ".part")
    if not part.exists():
        return None
    with part.open("r+b") as file:
        run, spans, dropped, end = "", 0, 0, 0
        for kind, body, behind in messages(file):
            end = behind
            run = body.get("run", run)
            if kind == "spans":
                spans, dropped = spans + body["count"], body["dropped"]
        file.truncate(end)
        file.seek(end)
        write_end(file, {"run": run, "node_ns": ended_ns, "status": "aborted", "spans": spans, "dropped": dropped})
    part.replace(out)
    return spans
