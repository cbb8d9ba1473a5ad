"""Spans of distributed-llama from what its program shows, both made up here: the root's stamps and the worker's sockets."""

from __future__ import annotations

import csv
import ctypes
import struct
import subprocess
import sys
from array import array
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol.events import KIND_NAME, SpanBatch
from hookrun.dllama.feed import Feed, Mark, MarkKind
from hookrun.dllama.model_file import read_model_file
from hookrun.dllama.output import Batch, Token
from hookrun.dllama.root import RootSpans
from hookrun.dllama.shim import SOURCE, environment, find_shim, line_buffered
from hookrun.dllama.step_times import StepTimes
from hookrun.dllama.steps import StepPlan, step_plan
from hookrun.dllama.watchdog import Watchdog
from hookrun.dllama.worker import WorkerSpans
from hookrun.errors import HookrunError
from hookrun.ring import SpanRing

from .dllama_maker import write_model

LAYERS = 2


def spans(ring: SpanRing) -> list[dict[str, Any]]:
    count, columns = ring.drain(1 << 20)
    rows = list(SpanBatch("r", 0, count, 0, columns).rows())
    return [{**row, "kind": KIND_NAME[row["kind"]], "phase": KIND_NAME.get(row["phase"], "")} for row in rows]


def of_kind(rows: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] in kinds]


class Stamps:
    """A feed whose stamps are made up: each step of each forward pass takes 10 µs, and 1 µs lies between two steps."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.now_ns = 1_000_000_000

    def ask(self, calls: int) -> None:
        self.stamps += [self.now_ns] * calls

    def forward(self, plan: StepPlan) -> Mark:
        self.now_ns += 500_000
        self.stamps.append(self.now_ns)
        for _ in range(plan.steps):
            self.now_ns += 10_000
            self.stamps.append(self.now_ns)
            self.now_ns += 1_000
            self.stamps.append(self.now_ns)
        return self.flush()

    def flush(self) -> Mark:
        return Mark(MarkKind.FLUSH, self.now_ns, self.now_ns, value=len(self.stamps))

    def stamps_ns(self, first: int, count: int) -> array[int] | None:
        return array("q", self.stamps[first : first + count]) if 0 <= first <= len(self.stamps) - count else None


@pytest.fixture(params=[1, 2])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> StepPlan:
    found = step_plan(read_model_file(write_model(tmp_path / "m.m")), request.param)
    assert found is not None
    return found


def token(at_ns: int, ms: int = 0) -> Token:
    return Token(ms, 0, 0, 0, " a", at_ns)


def run(feed: Stamps, plan: StepPlan | None, *, batches: int, tokens: int, before: int = 0, of: StepPlan) -> RootSpans:
    """A request as the program makes it: all batches and one flush, then a flush behind each token."""
    ring = SpanRing()
    root = RootSpans(ring, feed, plan)  # type: ignore[arg-type]
    feed.ask(before)
    marks = [feed.forward(of) for _ in range(batches)]
    root.take([Batch(1, 0, 0, 0, 32, mark.end_ns) for mark in marks])
    root.mark(feed.flush())
    for _ in range(tokens):
        root.mark(feed.forward(of))
        root.take([token(feed.now_ns + 50_000)])
        root.work()
    root.work(over=True)
    root.finish()
    return root


@pytest.mark.parametrize("batches", [0, 1, 3])
@pytest.mark.parametrize("before", [0, 7])
def test_stamps_become_layers_whatever_the_program_asked_before(plan: StepPlan, batches: int, before: int) -> None:
    feed = Stamps()
    root = run(feed, plan, batches=batches, tokens=4, before=before, of=plan)
    assert (root.by_text, root.disagreeing, root.understood) == (0, 0, True)
    rows = spans(root._ring)
    assert len(of_kind(rows, "attention")) == LAYERS * (batches + 4)
    for row in of_kind(rows, "attention", "ffn"):
        operations = 15 if row["kind"] == "attention" else 11
        assert row["end_ns"] - row["begin_ns"] == 11_000 * operations
    for number, row in enumerate(of_kind(rows, "token")):
        inside = [part for part in rows if part["token"] == number and part["kind"] != "token"]
        assert inside[0]["begin_ns"] == row["begin_ns"]
        assert inside[-1]["end_ns"] == row["end_ns"]
        assert all(before["end_ns"] == part["begin_ns"] for before, part in pairwise(inside))
    (request,) = of_kind(rows, "request")
    (decode,) = of_kind(rows, "decode")
    assert (request["count"], decode["count"]) == (32 * batches + 4, 4)
    assert [row["count"] for row in of_kind(rows, "prefill")] == ([32 * batches] if batches else [])
    assert request["begin_ns"] == min(row["begin_ns"] for row in rows)
    assert request["end_ns"] == max(row["end_ns"] for row in rows)


def test_operations_are_timed_one_by_one(plan: StepPlan, tmp_path: Path) -> None:
    feed, times = Stamps(), StepTimes(plan)
    root = RootSpans(SpanRing(), feed, plan, times)  # type: ignore[arg-type]
    root.mark(feed.flush())
    for _ in range(3):
        root.mark(feed.forward(plan))
        root.take([token(feed.now_ns)])
        root.work()
    times.write(tmp_path / "operations.csv")
    with (tmp_path / "operations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(plan.steps))
    assert {(row["mean_us"], row["tokens"]) for row in rows} == {("10.0", "3")}
    counted = Counter((row["kind"], row["layer"]) for row in rows)
    assert (counted["attention", "1"], counted["ffn", "0"], counted["head", "-1"]) == (15, 11, 6)
    assert [row["operation"] for row in rows if (row["kind"], row["layer"]) == ("ffn", "1")] == [str(n) for n in range(11)]
    assert [path.name for path in tmp_path.glob("*.csv*")] == ["operations.csv"]
    with pytest.raises(HookrunError, match="cannot write"):
        times.write(tmp_path / "nowhere" / "operations.csv")
    with pytest.raises(HookrunError, match="no token of this run"):
        StepTimes(plan).write(tmp_path / "none.csv")


def test_unknown_steps_give_tokens_by_their_stamps_and_no_layers(plan: StepPlan) -> None:
    longer = StepPlan(plan.steps + 5, plan.ends, plan.block)
    root = run(Stamps(), plan, batches=1, tokens=3, of=longer)
    rows = spans(root._ring)
    assert (root.understood, root.calls, root.by_text) == (False, longer.clock_calls, 0)
    assert not of_kind(rows, "attention", "ffn", "sync", "head")
    assert [row["end_ns"] - row["begin_ns"] for row in of_kind(rows, "token")] == [11_000 * longer.steps - 1_000] * 3


def test_without_stamps_tokens_are_placed_by_their_text() -> None:
    ring = SpanRing()
    root = RootSpans(ring, None, None)
    root.take([Batch(10, 5, 0, 0, 32, 100_000_000), Batch(4, 1, 0, 0, 8, 100_000_000), token(130_000_000, 20)])
    root.work()
    root.take([token(160_000_000, 20)])
    root.work()
    root.finish()
    rows = [(row["kind"], row["begin_ns"] // 1_000_000, row["end_ns"] // 1_000_000, row["count"]) for row in spans(ring)]
    assert rows == [
        ("prefill", 80, 100, 40), ("token", 110, 130, 1), ("token", 140, 160, 1), ("decode", 100, 160, 2),
        ("request", 80, 160, 42),
    ]  # fmt: skip


def test_stamps_and_text_that_disagree_are_counted(plan: StepPlan) -> None:
    feed, ring = Stamps(), SpanRing()
    root = RootSpans(ring, feed, plan)  # type: ignore[arg-type]
    root.mark(feed.flush())
    for printed_ms in (0, 30, 0, 1):  # it takes less than 1 ms
        root.mark(feed.forward(plan))
        root.take([token(feed.now_ns, printed_ms)])
        root.work()
    root.finish()
    assert root.disagreeing == 2


def test_a_token_whose_stamps_are_gone_is_placed_by_its_text(plan: StepPlan) -> None:
    feed, ring = Stamps(), SpanRing()
    root = RootSpans(ring, feed, plan)  # type: ignore[arg-type]
    root.mark(feed.flush())
    for number in range(3):
        root.mark(feed.forward(plan))
        if number == 1:
            feed.ask(3)
            root._flushes[-1] = len(feed.stamps)  # the timer was asked more often than in one pass
        root.take([token(feed.now_ns)])
        root.work()
    root.finish()
    assert root.by_text == 1
    assert len(of_kind(spans(ring), "token")) == 3


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


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    found = find_shim(tmp_path)
    if found is None:
        pytest.skip("no shim and no C compiler here")
    return found


def test_the_shim_is_compiled_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookrun.dllama.shim._installed", lambda: None)
    if find_shim(tmp_path) is None:
        pytest.skip("no C compiler here")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_shim(tmp_path) is None
    monkeypatch.setenv("CC", "false")
    assert find_shim(tmp_path) is None
    assert SOURCE.is_file()


def test_the_shim_writes_what_the_feed_reads(shim: Path) -> None:
    """Called from this process: stamps by number, also across the end of the ring, and what was overwritten is missed."""
    feed = Feed(stamps=8, marks=4)
    program = (
        "import ctypes, sys, socket\n"
        "library = ctypes.CDLL(None)\n"
        "now = getattr(ctypes.CDLL(sys.argv[1]), '_ZNSt6chrono3_V212system_clock3nowEv')\n"
        "now.restype = ctypes.c_int64\n"
        "for _ in range(13): last = now()\n"
        "near, far = socket.socketpair()\n"
        "buffer = ctypes.create_string_buffer(8)\n"
        "library.send(near.fileno(), b'\\x05\\0\\0\\0\\x20\\0\\0\\0', 8, 0)\n"
        "library.recv(far.fileno(), buffer, 8, 0)\n"
        "print(last, near.fileno(), far.fileno())\n"
    )
    command = [sys.executable, "-S", "-c", program, str(shim)]
    done = subprocess.run(command, env=environment(shim, feed.path, {}), capture_output=True, text=True, check=True)
    last, near, far = map(int, done.stdout.split())
    assert feed.stamps_written == 13
    assert feed.stamps_ns(4, 8) is None
    stamps = feed.stamps_ns(5, 8)
    assert stamps is not None
    assert list(stamps) == sorted(stamps)
    assert feed.stamps_ns(6, 8) is None
    assert last > 1_600_000_000_000_000_000
    assert list(feed.marks()) == []  # one look late
    marks = [mark for mark in feed.marks() if mark.kind is not MarkKind.FLUSH]
    assert [(mark.kind.name, mark.socket, mark.bytes) for mark in marks] == [("SENT", near, 8), ("RECEIVED", far, 8)]
    assert struct.pack("<Q", marks[1].value) == struct.pack("<II", 5, 32)
    assert list(feed.marks(everything=True)) == []
    feed.close()
    assert not feed.path.exists()


def test_marks_that_were_overwritten_are_counted() -> None:
    feed = Feed(stamps=2, marks=4)
    header = (ctypes.c_uint64 * 8).from_buffer(feed._memory)
    base = 64 + 8 * 2
    for number in range(10):
        struct.pack_into("=qqQII", feed._memory, base + 32 * (number % 4), number, number, 0, 1, 0)
    header[4] = 10
    assert [mark.begin_ns for mark in feed.marks(everything=True)] == [6, 7, 8, 9]
    assert feed.missed == 6
    del header
    feed.close()


def test_the_environment_keeps_what_was_preloaded_before(tmp_path: Path) -> None:
    made = environment(Path("/s.so"), Path("/feed"), {"LD_PRELOAD": "/other.so", "HOME": "/h"})
    assert made == {"LD_PRELOAD": "/s.so /other.so", "HOME": "/h", "HOOKRUN_DLLAMA_SHIM": "/feed"}
    assert line_buffered(("dllama", "worker"))[-2:] == ("dllama", "worker")


def test_the_watchdog_waits_for_a_first_sign_and_starves_without_the_next() -> None:
    watchdog = Watchdog(2.0)
    assert not watchdog.starved(10**12)
    watchdog.look(5, 0)
    watchdog.look(5, 1_900_000_000)
    assert not watchdog.starved(2_000_000_000)
    assert watchdog.starved(2_000_000_001)
    watchdog.look(6, 2_500_000_000)
    assert not watchdog.starved(4_000_000_000)
    watchdog.disarm()
    assert not watchdog.starved(10**15)
    never = Watchdog(0.0)
    never.feed(0)
    assert not never.starved(10**15)
