"""The ring against a plain list that does the same."""

from __future__ import annotations

import threading
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import COLUMNS, KIND, SpanBatch
from hookrun.sending.ring import SpanBlock, SpanRing

TIMES = st.integers(-(1 << 62), 1 << 62)
SMALL = st.integers(-1, 1 << 20)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[str, dict]:
    spans = draw(st.integers(1, 7))
    kinds = draw(st.lists(st.sampled_from(sorted(KIND.values())), min_size=spans, max_size=spans))
    layers = draw(st.lists(st.integers(-1, 999), min_size=spans, max_size=spans))
    times = draw(st.lists(TIMES, min_size=spans + 1, max_size=spans + 1))
    place = {"phase": draw(st.integers(0, 255)), "request": draw(SMALL), "token": draw(SMALL), "count": draw(SMALL)}
    return "block", {"kinds": kinds, "layers": layers, "times": times, "place": place}


SINGLES = st.tuples(
    st.just("single"), st.fixed_dictionaries({"kind": st.sampled_from(sorted(KIND)), "begin": TIMES, "end": TIMES})
)
DRAINS = st.tuples(st.just("drain"), st.integers(0, 12))


def rows(count: int, columns: dict) -> list[tuple]:
    arrays = SpanBatch("r", 0, count, 0, columns).arrays()
    return list(zip(*(arrays[name] for name, _code, _meaning in COLUMNS), strict=True))


@given(st.integers(1, 9), st.lists(st.one_of(blocks(), SINGLES, DRAINS), max_size=40))
def test_what_fits_comes_out_in_order_and_the_rest_is_counted(capacity: int, steps: list) -> None:
    ring, model, expected_dropped = SpanRing(capacity), [], 0
    for what, value in steps:
        if what == "drain":
            count, columns = ring.drain(value)
            assert rows(count, columns) == model[:value]
            del model[:value]
            continue
        if what == "single":
            new = [(value["begin"], value["end"], KIND[value["kind"]], 0, -1, -1, -1, 0, 0)]
            ring.push(value["kind"], value["begin"], value["end"])
        else:
            times, place = value["times"], value["place"]
            tail = (place["request"], place["token"], place["count"], 1)
            new = [
                (begin, end, kind, place["phase"], layer, *tail)
                for begin, end, kind, layer in zip(times, times[1:], value["kinds"], value["layers"], strict=False)
            ]
            ring.push_block(SpanBlock(array("B", value["kinds"]), array("h", value["layers"])), times, **place)
        if len(new) <= capacity - len(model):
            model += new
        else:
            expected_dropped += len(new)
        assert (len(ring), ring.dropped) == (len(model), expected_dropped)
    assert rows(*ring.drain(capacity)) == model


def test_a_block_needs_one_boundary_more_than_spans() -> None:
    with pytest.raises(ValueError, match="2 boundaries for 2 spans"):
        SpanRing(4).push_block(SpanBlock(array("B", [1, 2]), array("h", [0, 0])), [1, 2], phase=0, request=0, token=0, count=0)


def test_a_ring_needs_room() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SpanRing(0)


def test_a_writer_and_a_reader_at_once_lose_and_mix_nothing() -> None:
    ring, total, seen = SpanRing(64), 20_000, []
    done = threading.Event()

    def read() -> None:
        while not done.is_set() or len(ring):
            seen.extend(rows(*ring.drain(16)))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(total):
        ring.push("token", number, number + 1, token=number, count=number)
    done.set()
    reader.join()
    assert len(seen) + ring.dropped == total
    assert all(row[1] == row[0] + 1 and row[6] == row[7] == row[0] for row in seen)
    assert [row[0] for row in seen] == sorted(row[0] for row in seen)
