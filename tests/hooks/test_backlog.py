"""The backlog: what is kept, in what order it goes out, and where it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookrun.sending.backlog import WINDOW, Backlog


def batch(seq: int) -> bytes:
    return f"batch {seq:06d}".encode()


@given(
    st.integers(0, 60),
    st.lists(
        st.one_of(st.just("put"), st.just("take"), st.just("rewind"), st.tuples(st.just("ack"), st.integers(0, 30))), max_size=80
    ),
)
def test_batches_go_out_in_order_until_their_ack_wherever_they_lie(memory_bytes: int, steps: list) -> None:
    backlog = Backlog(memory_bytes=memory_bytes)
    kept: dict[int, bytes] = {}
    under_way: set[int] = set()
    put = 0
    for step in steps:
        if step == "put":
            backlog.put(put, batch(put))
            kept[put] = batch(put)
            put += 1
        elif step == "take":
            waiting = [seq for seq in kept if seq not in under_way]
            if waiting and len(under_way) < WINDOW:
                assert backlog.take() == kept[min(waiting)]
                under_way.add(min(waiting))
            else:
                assert backlog.take() is None
        elif step == "rewind":
            backlog.rewind()
            under_way.clear()
        elif step[1] in under_way or step[1] not in kept:  # only what was sent, or is gone already, is acknowledged
            backlog.ack(step[1])
            kept.pop(step[1], None)
            under_way.discard(step[1])
        assert (len(backlog), list(backlog), backlog.full) == (len(kept), list(kept.values()), False)
    backlog.close()


def test_memory_spills_to_disk_and_disk_has_a_bound(tmp_path: Path) -> None:
    size = len(batch(0))
    backlog = Backlog(memory_bytes=2 * size, disk_bytes=3 * size, folder=tmp_path)
    for seq in range(5):
        backlog.put(seq, batch(seq))
        assert not backlog.full
    assert backlog.spilled_bytes == 3 * size
    backlog.put(5, batch(5))
    assert backlog.full
    assert list(backlog) == [batch(seq) for seq in range(6)]
    while (packed := backlog.take()) is not None:
        backlog.ack(int(packed.split()[1]))
    assert (len(backlog), backlog.full, backlog.spilled_bytes) == (0, False, 0)
    backlog.close()


def test_a_disk_that_takes_nothing_fills_the_backlog_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_space)
    backlog = Backlog(memory_bytes=0, folder=tmp_path)
    backlog.put(0, batch(0))
    assert backlog.full
    assert list(backlog) == [batch(0)]
    backlog.close()


def test_a_new_run_starts_empty_at_zero() -> None:
    backlog = Backlog(memory_bytes=0)
    backlog.put(0, batch(0))
    backlog.take()
    backlog.restart()
    assert (len(backlog), backlog.take(), backlog.spilled_bytes) == (0, None, 0)
    backlog.put(0, b"new")
    assert backlog.take() == b"new"
    backlog.close()
