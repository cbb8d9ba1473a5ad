"""One run while it is being recorded, and what is left of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..record.writer import RunWriter

FIRST_UNKNOWN = -1
"""`next_seq` of a run that goes on after a restart: the node knows which batches are on disk, and sends the rest."""


@dataclass
class OpenRun:
    """A run being recorded."""

    run: str
    label: str
    node: str
    writer: RunWriter
    next_seq: int = 0
    spans: int = 0
    dropped: int = 0
    end_body: dict[str, Any] | None = None
    close_at_ns: int = 0
    unacked: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Closed:
    """A run file that was closed, and why (`status`: complete, aborted, or a sentence)."""

    run: OpenRun
    status: str
