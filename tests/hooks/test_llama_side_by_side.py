"""Sequences side by side in the real engine: each says what it says alone, and the spans count all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookrun.errors import HookrunError
from hookrun.llama import Runner, Workload
from hookrun.llama.instrument import instrument
from hookrun.llama.settings import ContextSettings
from hookrun.llama.tracer import Stamps
from hookrun.sending.ring import SpanRing

from .span_rows import spans

pytest.importorskip("llama_cpp")
side_by_side = pytest.importorskip("hookrun.llama.side_by_side")
LAYERS = 30


def test_sequences_side_by_side_say_the_same_and_count_all_of_them(engine: Any) -> None:
    prompt = tuple(engine.tokenize("The capital of France is a city of"))
    made = instrument(engine, ContextSettings(256, 1, batch=12, sequences=3), Stamps.ABORT)
    alone = instrument(engine, ContextSettings(256, 1), Stamps.ABORT)
    ring = SpanRing()
    (request,) = Runner(made, ring).run(Workload((prompt,), tokens=4, chunk=4))
    (single,) = Runner(alone, SpanRing()).run(Workload((prompt,), tokens=4))
    assert request.tokens == single.tokens
    assert (request.prompt_tokens, request.decoded) == (3 * len(prompt), 12)
    rows = spans(ring)
    assert {row["batch"] for row in rows} == {3}
    assert made.tracer.unmapped == 0
    tokens = [row for row in rows if row["kind"] == "token"]
    assert [(row["token"], row["count"]) for row in tokens] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    halves = [row for row in rows if row["kind"] in ("attention", "ffn") and row["phase"] == "decode"]
    assert len(halves) == 4 * 2 * LAYERS
    prefill = [row["count"] for row in rows if row["kind"] == "ffn" and row["layer"] == 0 and row["phase"] == "prefill"]
    assert sum(prefill) == 3 * len(prompt)
    assert max(prefill) == 12


@pytest.mark.parametrize(("sequences", "sentence"), [(257, "at most 256"), (13, "--batch of at least 13")])
def test_sequences_that_cannot_be_are_refused(sequences: int, sentence: str) -> None:
    with pytest.raises(HookrunError, match=sentence):
        ContextSettings(256, 1, batch=12 if sequences < 256 else 512, sequences=sequences).check()


def test_different_prompts_side_by_side_say_what_each_says_alone(engine: Any) -> None:
    texts = ("The capital of France is a city of", "Hello", "One, two, three, four,")
    prompts = sorted((tuple(engine.tokenize(text)) for text in texts), key=len, reverse=True)
    made = instrument(engine, ContextSettings(256, 1, batch=9, sequences=3), Stamps.ABORT)
    ring, runner = SpanRing(), Runner(made, SpanRing())
    known = runner.prefill(side_by_side.rows(prompts), 3, 0)
    first = made.context.greedy()
    said = [first, *runner.decode(first, 3, 0)]
    (request,) = Runner(made, ring).run(Workload((side_by_side.rows(prompts),), tokens=3, chunk=3))
    made.context.close()
    alone = instrument(engine, ContextSettings(256, 1), Stamps.ABORT)
    answers = [Runner(alone, SpanRing()).run(Workload((prompt,), tokens=3))[0].tokens for prompt in prompts]
    alone.context.close()
    assert list(zip(*said, strict=True)) == answers
    assert request.tokens == answers[0]
    assert known == request.prompt_tokens == sum(map(len, prompts))
    written = spans(ring)
    assert made.tracer.unmapped == 0
    assert sum(row["count"] for row in written if (row["kind"], row["phase"], row["layer"]) == ("ffn", "prefill", 0)) == known
    (prefill,) = (row for row in written if row["kind"] == "prefill")
    assert (prefill["count"], prefill["batch"]) == (known, 3)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4))
def test_prompts_as_rows_keep_their_tokens_and_end_together(prompts: list[list[int]]) -> None:
    found = side_by_side.rows(prompts)
    assert len(found) == max(map(len, prompts))
    assert None not in found[-1]
    for column, prompt in zip(zip(*found, strict=True), sorted(prompts, key=len, reverse=True), strict=True):
        assert list(column) == [None] * (len(found) - len(prompt)) + prompt
