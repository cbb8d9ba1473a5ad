"""How run files are called: `20260102T030405Z-LABEL-RUNID.mcap`, and `….part2.mcap` where a run goes on in another file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

_ID_SHOWN = 8


def new_run_path(folder: Path, run: str, titles: Sequence[str], utc: datetime) -> Path:
    """Return the name for the next file of run `run` in `folder`; the first of `titles` that can be part of it is."""
    parts = run_parts(folder, run)
    if parts:
        return parts[0].with_name(f"{parts[0].stem}.part{len(parts) + 1}.mcap")
    title = next(filter(None, map(_slug, titles)), "run")
    return folder / f"{utc.strftime('%Y%m%dT%H%M%SZ')}-{title}-{run[:_ID_SHOWN]}.mcap"


def run_parts(folder: Path, run: str) -> list[Path]:
    """Return the files of a run in `folder`, the first one first."""
    return sorted(folder.glob(f"*-{run[:_ID_SHOWN]}*.mcap"), key=lambda path: (len(path.name), path.name))


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:40]
