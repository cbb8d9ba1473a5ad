"""Spans of a ring as rows that a test can read."""

from __future__ import annotations

from typing import Any

from epi_protocol.events import KIND_NAME, SpanBatch
from hookrun.sending.ring import SpanRing


def spans(ring: SpanRing) -> list[dict[str, Any]]:
    count, columns = ring.drain(1 << 20)
    rows = list(SpanBatch("r", 0, count, 0, columns).rows())
    return [{**row, "kind": KIND_NAME[row["kind"]], "phase": KIND_NAME.get(row["phase"], "")} for row in rows]


def of_kind(rows: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] in kinds]
