"""The spans of one simulated run as columns, in true time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epi_protocol.events import COLUMNS, KIND

Column = NDArray[np.int64]
_PUSHED = ("begin_ns", "end_ns", "kind", "phase", "layer", "request", "token", "count", "batch")

REPEATS = ("repeat", "repeat_attention", "repeat_ffn")
LEAVES = ("idle", "warmup", "embedding", "attention", "ffn", "layer", "head", *REPEATS, "burn", "rest", "sync")
"""Kinds that do not contain others: what a node does at one moment."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Columns as in events.COLUMNS, each of shape (n,), int64; times in nanoseconds of true (host) time."""

    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.columns["kind"])

    def of(self, *kinds: str) -> Spans:
        """Only the spans of some kinds."""
        return self.where(np.isin(self.columns["kind"], [KIND[kind] for kind in kinds]))

    def where(self, keep: NDArray[np.bool_]) -> Spans:
        """Only the spans for which `keep`, shape (n,), is true."""
        return Spans({name: column[keep] for name, column in self.columns.items()})

    def in_order_of(self, name: str) -> Spans:
        """Sorted by one column. A node sends its spans in order of `end_ns`: a span is known when it is over."""
        order = np.argsort(self.columns[name], kind="stable")
        return Spans({name: column[order] for name, column in self.columns.items()})

    def chunks(self, size: int) -> Iterator[Spans]:
        """Parts of at most `size` spans, in order."""
        for at in range(0, len(self), size):
            yield Spans({name: column[at : at + size] for name, column in self.columns.items()})

    def shifted(self, by_ns: int) -> Spans:
        """The same spans, later by `by_ns`."""
        times = {name: self.columns[name] + by_ns for name in ("begin_ns", "end_ns")}
        return Spans(self.columns | times)

    def packed(self) -> dict[str, bytes]:
        """Columns as they travel: little-endian, each of its own width."""
        return {name: self.columns[name].astype(f"<{code}").tobytes() for name, code, _meaning in COLUMNS}


class SpanList:
    """Gathers spans one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []

    def push(
        self,
        kind: str,
        begin_ns: float,
        end_ns: float,
        *,
        phase: int = 0,
        layer: int = -1,
        request: int = -1,
        token: int = -1,
        count: int = 0,
        batch: int = 0,
    ) -> None:
        """Add one span; columns not named say nothing."""
        self._rows.append((round(begin_ns), round(end_ns), KIND[kind], phase, layer, request, token, count, batch))

    def spans(self) -> Spans:
        """All of them as columns."""
        table = np.array(self._rows, dtype=np.int64).reshape(len(self._rows), len(_PUSHED))
        return Spans({name: table[:, _PUSHED.index(name)].copy() for name, _code, _meaning in COLUMNS})
