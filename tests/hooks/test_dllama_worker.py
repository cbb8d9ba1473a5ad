"""A worker of distributed-llama: its sends and receives become layers, and what is no forward pass is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookrun.dllama.feed import Mark, MarkKind
from hookrun.dllama.worker import WorkerSpans
from hookrun.sending.ring import SpanRing

from .span_rows import of_kind, spans

LAYERS = 2


class Sockets:
    """A worker's sockets: 0 leads to the root, others to other workers. Compute takes 1 ms, an exchange 2."""

    def __init__(self, peers: int) -> None:
        self.peers, self.ns, self.marks = peers, 0, []  # type: int, int, list[Mark]

    def control(self, position: int, batch: int) -> None:
        self._mark(MarkKind.RECEIVED, 0, 8, value=position | batch << 32)

    def forward(self, position: int, batch: int, layers: int = LAYERS, chunks: int = 1) -> None:
        self.control(position, batch)
        self._mark(MarkKind.RECEIVED, 0, 256)
        for _ in range(2 * layers):
            self.ns += 1_000_000
            for kind in (MarkKind.SENT, MarkKind.RECEIVED):
                for _ in range(chunks):
                    for socket in range(self.peers):
                        self._mark(kind, socket, 68)
        self.ns += 500_000
        self._mark(MarkKind.SENT, 0, 4096)
        self._mark(MarkKind.SENT, 0, 100)

    def _mark(self, kind: MarkKind, socket: int, size: int, value: int = 0) -> None:
        self.marks.append(Mark(kind, self.ns, self.ns + 10_000, value, socket, size))
        self.ns += 10_000


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
def test_a_workers_turns_are_its_layers(peers: int, chunks: int, layers: int) -> None:
    sockets, ring = Sockets(peers), SpanRing()
    sockets.forward(0, 7, layers, chunks)
    for position in (7, 8, 9):
        sockets.forward(position, 1, layers, chunks)
    sockets.control(9, 0)
    sockets.forward(0, 1, layers, chunks)  # another root, another request
    worker = WorkerSpans(ring)
    for mark in sockets.marks:
        worker.mark(mark)
    worker.finish()
    rows = spans(ring)
    assert (worker.forwards, worker.unmapped) == (5, 0)
    assert [(row["request"], row["token"]) for row in of_kind(rows, "token")] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [(row["count"], row["request"]) for row in of_kind(rows, "prefill")] == [(7, 0)]
    assert [row["layer"] for row in of_kind(rows, "attention")] == list(range(layers)) * 5
    assert {row["end_ns"] - row["begin_ns"] for row in of_kind(rows, "attention", "ffn")} == {1_000_000}
    assert {row["end_ns"] - row["begin_ns"] for row in of_kind(rows, "head")} == {500_000}
    exchanges = [row for row in of_kind(rows, "sync") if row["layer"] >= 0]
    assert {row["end_ns"] - row["begin_ns"] for row in exchanges} == {2 * chunks * peers * 10_000}


def test_turns_of_threads_side_by_side_are_one_exchange() -> None:
    """Each thread serves a socket of its own: one may have read before another has sent."""
    marks = [Mark(MarkKind.RECEIVED, 0, 0, 1 << 32, 5, 8), Mark(MarkKind.RECEIVED, 1, 2, 0, 5, 256)]
    for start in (100, 200):
        for offset, kind, socket in ((0, 2, 5), (5, 3, 5), (6, 2, 6), (9, 3, 6)):
            marks.append(Mark(MarkKind(kind), start + offset, start + offset + 1, 0, socket, 68))
    marks.append(Mark(MarkKind.SENT, 300, 301, 0, 5, 512))
    worker = WorkerSpans(SpanRing())
    for mark in marks:
        worker.mark(mark)
    worker.finish()
    rows = spans(worker._ring)
    assert [(row["kind"], row["begin_ns"], row["end_ns"]) for row in rows[1:5]] == [
        ("attention", 2, 100), ("sync", 100, 110), ("ffn", 110, 200), ("sync", 200, 210)
    ]  # fmt: skip


@pytest.mark.parametrize("kept", range(2, 11))
@pytest.mark.parametrize("whole_before", [0, 1])
def test_a_forward_pass_that_was_broken_off_is_counted(kept: int, whole_before: int) -> None:
    sockets, worker = Sockets(1), WorkerSpans(SpanRing())
    sockets.forward(0, 1)
    whole = sockets.marks
    assert len(whole) == 12
    for mark in [*whole * whole_before, *whole[:kept], *whole]:
        worker.mark(mark)
    worker.finish()
    assert (worker.forwards, worker.unmapped) == (1 + whole_before, 1)


def test_eight_bytes_that_ask_for_nothing_open_no_forward_pass() -> None:
    worker = WorkerSpans(SpanRing())
    for value in (123_456, 5 | 0x40000000 << 32, 0):  # the length of a block, a piece of a float, zeros
        worker.mark(Mark(MarkKind.RECEIVED, 0, 1, value, 3, 8))
    worker.finish()
    assert (worker.forwards, worker.unmapped) == (0, 0)
