"""The load pattern against a clock of its own, and both burners against the processor."""

from __future__ import annotations

import os
import time
from itertools import islice, pairwise
from types import TracebackType
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import KIND_NAME, SpanBatch
from hookrun.clock import node_ns
from hookrun.errors import Interrupted
from hookrun.node.burner import Burner, ProcessBurner, ThreadBurner, burner
from hookrun.node.load_pattern import LoadPattern, lengths_s
from hookrun.sending.ring import SpanRing


class Machine:
    """A clock that moves while someone burns or sleeps."""

    def __init__(self) -> None:
        self.ns = 1_000
        self.entered = 0

    def clock(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def __enter__(self) -> Self:
        self.entered += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.entered -= 1

    def burn(self, until_ns: int) -> None:
        assert self.entered == 1
        self.ns = until_ns


def spans(ring: SpanRing) -> list[dict[str, Any]]:
    count, columns = ring.drain(1 << 20)
    return [{**row, "kind": KIND_NAME[row["kind"]]} for row in SpanBatch("r", 0, count, 0, columns).rows()]


def pattern(machine: Machine, seed: int, ring: SpanRing, total_s: float = 20.0) -> LoadPattern:
    return LoadPattern(seed, ring, total_s=total_s, clock=machine.clock, sleep=machine.sleep, load=machine)


@given(st.integers(0, 1 << 62))
def test_load_and_rest_alternate_for_about_the_time_without_a_gap(seed: int) -> None:
    machine, ring = Machine(), SpanRing()
    pattern(machine, seed, ring).play()
    rows = spans(ring)
    assert [row["kind"] for row in rows] == ["burn", "rest"] * (len(rows) // 2)
    assert all(0.05e9 <= row["end_ns"] - row["begin_ns"] <= 0.4e9 for row in rows)
    assert all(before["end_ns"] == row["begin_ns"] for before, row in pairwise(rows))
    assert 20e9 <= rows[-1]["end_ns"] - rows[0]["begin_ns"] <= 20.8e9
    assert machine.entered == 0


def test_a_seed_is_a_pattern_and_its_second_part_is_another() -> None:
    assert list(islice(lengths_s(7), 50)) == list(islice(lengths_s(7), 50)) != list(islice(lengths_s(8), 50))
    machine, ring = Machine(), SpanRing()
    played = pattern(machine, 7, ring, total_s=5)
    played.play()
    first = [row["end_ns"] - row["begin_ns"] for row in spans(ring)]
    played.play()
    second = [row["end_ns"] - row["begin_ns"] for row in spans(ring)]
    assert first[:10] != second[:10]


def test_an_interruption_ends_the_pattern_with_what_ran_written_down() -> None:
    machine, ring, naps = Machine(), SpanRing(), iter([0.1, 0.1])

    def sleep(_seconds: float) -> None:
        machine.ns += round(next(naps, 0.0) * 1e9)
        if machine.ns > 500_000_000:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        LoadPattern(3, ring, clock=machine.clock, sleep=sleep, load=machine).play()
    assert spans(ring)[-1]["kind"] == "rest"
    assert machine.entered == 0


def compiled(cores: int) -> Burner:
    try:
        return ThreadBurner(cores)
    except ImportError:
        pytest.skip("the extension was not built here")


@pytest.mark.parametrize("make", [compiled, ProcessBurner], ids=["threads", "processes"])
def test_a_burner_uses_processor_time_until_the_instant(make: Any) -> None:
    def used_s() -> float:
        times = os.times()
        return times.user + times.children_user

    before_s = used_s()
    with make(2) as load:
        for _ in range(60):  # a busy machine may give little at a time
            until_ns = node_ns() + 200_000_000
            load.burn(until_ns)
            assert node_ns() >= until_ns
            if isinstance(load, ProcessBurner) or used_s() - before_s > 0.1:
                break
    if isinstance(load, ProcessBurner):  # the system books children only once they have ended
        assert used_s() > before_s
    else:
        assert used_s() - before_s > 0.1


def test_the_number_of_threads_is_checked_and_others_run_meanwhile() -> None:
    compiled(1)
    from hookrun._burn import burn

    assert burn(2, node_ns() + 1_000_000) == 2
    for threads in (0, -1, 257):
        with pytest.raises(ValueError, match=f"{threads} threads"):
            burn(threads, 0)
    assert isinstance(burner(1), ThreadBurner)
    begin = time.monotonic()
    burn(1, 0)  # an instant that is over
    assert time.monotonic() - begin < 5
