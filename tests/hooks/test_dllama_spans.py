"""Spans of distributed-llama from what its program shows, both made up here: the root's stamps and the worker's sockets."""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from hookrun.dllama.feed import Mark, MarkKind
from hookrun.dllama.model_file import read_model_file
from hookrun.dllama.output import Batch, Token
from hookrun.dllama.root import RootSpans
from hookrun.dllama.step_times import StepTimes
from hookrun.dllama.steps import StepPlan, step_plan
from hookrun.errors import HookrunError
from hookrun.sending.ring import SpanRing

from .dllama_maker import write_model
from .span_rows import of_kind, spans

LAYERS = 2


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
