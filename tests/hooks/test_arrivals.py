"""How long tokens take to the daemon: against a plain list of ends and acks."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import KIND
from hookrun.sending.arrivals import Arrivals
from hookrun.sending.ring import SpanRing

ROWS = st.lists(st.tuples(st.sampled_from(["token", "ffn", "request"]), st.integers(0, 1 << 40)), max_size=12)


@given(st.lists(ROWS, max_size=6), st.data())
def test_each_token_counts_once_from_its_end_to_the_first_ack(batches: list[list[tuple[str, int]]], data: st.DataObject) -> None:
    arrivals, ring, expected, now_ns = Arrivals(), SpanRing(64), [], 1 << 41
    for seq, rows in enumerate(batches):
        for kind, end_ns in rows:
            ring.push(kind, end_ns - 1, end_ns)
        arrivals.left(seq, ring.drain(64)[1])
    for seq in data.draw(st.lists(st.integers(0, len(batches)), max_size=8)):
        now_ns += 1000
        arrivals.confirmed(seq, now_ns)
        if seq < len(batches):
            expected += [now_ns - end_ns for kind, end_ns in batches[seq] if kind == "token"]
            batches[seq] = []
    found = arrivals.summary()
    if not expected:
        assert found is None
        return
    assert found is not None
    assert found.tokens == len(expected)
    assert found.median_ms == pytest.approx(statistics.median(expected) / 1e6)
    assert found.max_ms == pytest.approx(max(expected) / 1e6)


def test_a_new_run_starts_from_nothing() -> None:
    arrivals, ring = Arrivals(), SpanRing(4)
    ring.push("token", 0, 1)
    arrivals.left(0, ring.drain(4)[1])
    arrivals.restart()
    arrivals.confirmed(0, 5)
    assert arrivals.summary() is None


def test_the_sentence() -> None:
    arrivals, ring = Arrivals(), SpanRing(4)
    for end_ns in (0, 100_000_000):
        ring.push("token", end_ns, end_ns)
    assert KIND["token"] == ring.drain(1)[1]["kind"][0]
    arrivals.left(0, ring.drain(1)[1])
    arrivals.confirmed(0, 212_000_000)
    found = arrivals.summary()
    assert found is not None
    assert found.sentence() == "a token is stored after 112 ms (median; at most 112)"
    assert found.to_map() == {"tokens": 1, "median_ms": 112.0, "max_ms": 112.0}
