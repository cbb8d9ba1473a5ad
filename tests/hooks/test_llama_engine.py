"""The real engine: the calls it makes are the predicted ones, and the spans are those of a transformer that ran."""

from __future__ import annotations

import ctypes
import gc
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hookrun.clock import node_ns
from hookrun.errors import HookrunError
from hookrun.llama import Runner, Workload
from hookrun.llama import instrument as instrument_module
from hookrun.llama import runner as runner_module
from hookrun.llama import tracer as tracer_module
from hookrun.llama.instrument import instrument
from hookrun.llama.loading import load_engine
from hookrun.llama.model import open_model
from hookrun.llama.opmap import OpMapError
from hookrun.llama.settings import ContextSettings
from hookrun.llama.tracer import Stamps, Stopped, plan_for
from hookrun.sending.ring import SpanRing
from hookrun.stamps import compiled_stamper

from .gguf_maker import tiny_deci
from .span_rows import spans

pytest.importorskip("llama_cpp")
LAYERS = 30
CALLS = 515
"""Operations of one token of SmolLM2-135M with fused norms; 576 without."""


def context_settings(tokens: int = 256) -> Any:
    return ContextSettings(tokens, threads=1)


def inside(rows: list[dict[str, Any]], token: int, request: int = 0) -> list[dict[str, Any]]:
    kinds = ("embedding", "attention", "ffn", "layer", "head")
    return [row for row in rows if row["kind"] in kinds and (row["token"], row["request"]) == (token, request)]


WAYS = [(Stamps.ABORT, True), (Stamps.ABORT, False), (Stamps.EVAL, True), (Stamps.EVAL, False)]


@pytest.mark.parametrize(("mode", "compiled"), WAYS, ids=[f"{mode}-{'C' if c else 'Python'}" for mode, c in WAYS])
def test_every_token_has_all_layers_one_after_the_other(engine: Any, mode: Stamps, compiled: bool) -> None:
    if compiled and compiled_stamper(memoryview(bytearray(8)).cast("q")) is None:
        pytest.skip("the extension was not built here")
    made = instrument(engine, context_settings(), mode, compiled=compiled)
    assert made.plans is not None
    if mode is Stamps.ABORT:
        assert made.plans.decode.calls == made.plans.prefill.calls == CALLS
    ring, prompt = SpanRing(), tuple(engine.tokenize("The capital of France is"))
    before_ns = node_ns()
    requests = Runner(made, ring).run(Workload((prompt,), tokens=6, repeat=2))
    after_ns = node_ns()
    made.context.close()
    assert (made.tracer.unmapped, ring.dropped) == (0, 0)
    rows = spans(ring)
    assert all(before_ns <= row["begin_ns"] <= row["end_ns"] <= after_ns for row in rows)
    covered = []
    for request in (0, 1):
        for position in range(6):
            (token,) = [r for r in rows if (r["kind"], r["token"], r["request"]) == ("token", position, request)]
            covered.append(check_token(inside(rows, position, request), token))
    assert statistics.median(covered) > 0.9
    assert Counter(row["kind"] for row in rows) == {
        "request": 2, "prefill": 2, "decode": 2, "token": 12,
        "embedding": 14, "head": 14, "attention": 14 * LAYERS, "ffn": 14 * LAYERS,
    }  # fmt: skip
    assert requests[0].tokens == requests[1].tokens
    assert engine.text(requests[0].tokens).startswith(" Paris")


def check_token(parts: list[dict[str, Any]], token: dict[str, Any]) -> float:
    """Check the parts of one token and return how much of its time they cover."""
    halves = [(kind, layer) for layer in range(LAYERS) for kind in ("attention", "ffn")]
    assert [(part["kind"], part["layer"]) for part in parts] == [("embedding", -1), *halves, ("head", -1)]
    assert all(part["phase"] == "decode" and part["count"] == 1 for part in parts)
    assert parts[0]["begin_ns"] == token["begin_ns"]
    assert all(before["end_ns"] == part["begin_ns"] for before, part in pairwise(parts))
    assert parts[-1]["end_ns"] <= token["end_ns"]
    return (parts[-1]["end_ns"] - parts[0]["begin_ns"]) / (token["end_ns"] - token["begin_ns"])


def test_a_long_prompt_goes_through_in_batches_each_with_its_layers(engine: Any) -> None:
    made = instrument(engine, context_settings(512))
    ring = SpanRing()
    prompt = tuple(engine.tokenize("one two three four five six seven eight nine ten " * 6))
    (request,) = Runner(made, ring).run(Workload((prompt,), tokens=2, chunk=25))
    (whole,) = Runner(made, SpanRing()).run(Workload((prompt,), tokens=2, chunk=512))
    made.context.close()
    assert request.tokens == whole.tokens
    layers = [row for row in spans(ring) if row["phase"] == "prefill" and row["kind"] == "ffn" and row["layer"] == 7]
    assert [row["count"] for row in layers] == [25] * (len(prompt) // 25) + [len(prompt) % 25] * (len(prompt) % 25 > 0)
    assert sum(row["count"] for row in layers) == len(prompt)


def test_a_last_batch_of_one_token_is_understood_too(engine: Any) -> None:
    made = instrument(engine, context_settings())
    ring, prompt = SpanRing(), tuple(engine.tokenize("The capital of France is"))
    Runner(made, ring).run(Workload((prompt,), tokens=0, chunk=len(prompt) - 1))
    made.context.close()
    rows = spans(ring)
    assert made.tracer.unmapped == 0
    assert [row["count"] for row in rows if row["kind"] == "head"] == [len(prompt) - 1, 1]
    assert not [row for row in rows if row["kind"] in ("decode", "token")]


def test_warmup_and_rest_are_spans_of_their_own(engine: Any) -> None:
    made = instrument(engine, context_settings(), Stamps.OFF)
    ring, slept = SpanRing(), []
    ticks: list[tuple[int, int]] = []
    work = Workload((tuple(engine.tokenize("Hello")),), tokens=2, repeat=3, warmup=2, idle_s=5, gap_s=1)
    Runner(made, ring, sleep=slept.append, progress=lambda done, total: ticks.append((done, total))).run(work)
    made.context.close()
    kinds = [row["kind"] for row in spans(ring) if row["kind"] in ("warmup", "idle", "request")]
    assert kinds == ["warmup"] * 2 + ["idle", "request", "idle", "request", "idle", "request", "idle"]
    assert slept == [5, 1, 1, 5]
    assert ticks == sorted(set(ticks))  # tokens may be told of several at once
    assert (ticks[0], ticks[-1]) == ((1, 10), (10, 10))


def test_prompts_take_turns_and_each_request_bears_its_own_length(engine: Any) -> None:
    made = instrument(engine, context_settings(), Stamps.OFF)
    ring, prompts = SpanRing(), (tuple(engine.tokenize("Hello")), tuple(engine.tokenize("The capital of France is")))
    requests = Runner(made, ring).run(Workload(prompts, tokens=2, repeat=2))
    made.context.close()
    assert [request.prompt_tokens for request in requests] == [len(prompt) for prompt in prompts] * 2
    assert [row["count"] for row in spans(ring) if row["kind"] == "prefill"] == [len(prompt) for prompt in prompts] * 2
    assert requests[0].tokens == requests[2].tokens != requests[1].tokens == requests[3].tokens


def test_a_request_may_end_at_the_end_mark(engine: Any) -> None:
    made = instrument(engine, context_settings(), Stamps.OFF)
    prompt = tuple(engine.tokenize(engine.chat("Say yes."), special=True))
    (fixed,) = Runner(made, SpanRing()).run(Workload((prompt,), tokens=24))
    (ended,) = Runner(made, SpanRing(), ends=engine.is_end).run(Workload((prompt,), tokens=24))
    made.context.close()
    assert len(fixed.tokens) == 25
    assert ended.tokens == fixed.tokens[: len(ended.tokens)]
    end = next((at for at, token in enumerate(fixed.tokens) if engine.is_end(token)), 24)
    assert len(ended.tokens) == end + 1


@pytest.mark.parametrize("cache", ["q8_0", "f32"])
def test_a_cache_of_another_type_and_batches_of_another_size_are_understood(engine: Any, cache: str) -> None:
    settings = ContextSettings(256, 1, batch=3, cache_type_k=cache, cache_type_v=cache, flash_attn="on")
    made = instrument(engine, settings, Stamps.ABORT)
    ring, prompt = SpanRing(), tuple(engine.tokenize("The capital of France is"))
    (request,) = Runner(made, ring).run(Workload((prompt,), tokens=3, chunk=3))
    made.context.close()
    assert made.tracer.unmapped == 0
    assert [row["count"] for row in spans(ring) if row["kind"] == "head"] == [3, 2, 1, 1, 1]
    assert engine.text(request.tokens).startswith(" Paris")


def test_every_span_of_one_sequence_says_so(engine: Any) -> None:
    made = instrument(engine, context_settings())
    ring = SpanRing()
    Runner(made, ring).run(Workload((tuple(engine.tokenize("Hello")),), tokens=1, warmup=1))
    made.context.close()
    assert {row["batch"] for row in spans(ring)} == {1}


def test_a_stop_ends_the_computation_within_it(engine: Any) -> None:
    made = instrument(engine, context_settings())
    made.context.decode([1, 2])
    made.tracer.stop()
    with pytest.raises(Stopped):
        made.context.decode([3])
    made.context.close()


def refuse(*modes: Stamps) -> Any:
    def plan(mode: Stamps, nodes: Any, calls: int, without_attention: Any) -> Any:
        return plan_for(mode, nodes, calls + 1 if mode in modes else calls, without_attention)

    return plan


def test_calls_that_are_not_understood_lead_to_the_next_way_with_a_warning(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instrument_module, "plan_for", refuse(Stamps.ABORT))
    made = instrument(engine, context_settings())
    made.context.close()
    assert made.tracer.mode is Stamps.EVAL
    assert len(made.warnings) == 1
    assert f"made {CALLS + 1} calls for a graph that explains {CALLS} or 576" in made.warnings[0]
    monkeypatch.setattr(instrument_module, "plan_for", refuse(Stamps.ABORT, Stamps.EVAL))
    made = instrument(engine, context_settings())
    made.context.close()
    assert (made.tracer.mode, made.plans, len(made.warnings)) == (Stamps.OFF, None, 2)
    with pytest.raises(HookrunError, match="--stamps off measures tokens without layers"):
        instrument(engine, context_settings(), Stamps.EVAL)


def test_without_the_compiled_part_stamps_are_taken_in_python_with_a_notice(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer_module, "compiled_stamper", lambda _times_ns: None)
    made = instrument(engine, context_settings())
    made.context.close()
    assert (made.tracer.mode, made.tracer.by) == (Stamps.ABORT, "Python")
    assert ["taken in Python" in warning for warning in made.warnings] == [True]
    with pytest.raises(HookrunError, match="compiled stamps are not installed"):
        instrument(engine, context_settings(), compiled=True)


def test_other_calls_than_planned_are_counted_and_give_no_spans(engine: Any) -> None:
    made = instrument(engine, context_settings())
    assert made.plans is not None
    made.tracer.follow(made.plans.decode)
    made.context.decode([1])
    made.context.decode([1])  # twice the calls of one computation
    assert made.tracer.boundaries_ns((0,)) is None
    assert made.tracer.unmapped == 1
    made.context.close()


def test_layers_without_attention_are_feed_forward_only(tmp_path: Path) -> None:
    heads, heads_kv = [4, 0, 2, 3], [2, 0, 1, 3]
    path = tmp_path / "deci.gguf"
    path.write_bytes(tiny_deci(heads, heads_kv))
    model = open_model(path)
    assert (model.n_head, model.without_attention) == (tuple(heads), {1})
    engine, _warnings = load_engine(path, "auto")
    made = instrument(engine, context_settings(), Stamps.ABORT, without_attention=model.without_attention)
    ring = SpanRing()
    Runner(made, ring).run(Workload(((1, 2, 3),), tokens=3))
    parts = [(row["kind"], row["layer"]) for row in inside(spans(ring), 2)]
    made.context.close()
    engine.close()
    halves = [("attention", 0), ("ffn", 0), ("ffn", 1), ("attention", 2), ("ffn", 2), ("attention", 3), ("ffn", 3)]
    assert parts == [("embedding", -1), *halves, ("head", -1)]


def test_the_engine_forgets_our_log_with_us() -> None:
    """Otherwise the next model that anything in this process loads would call freed memory."""
    import llama_cpp

    from hookrun.llama.engine import EngineLog

    def current() -> int | None:
        callback, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
        llama_cpp.llama_log_get(ctypes.byref(callback), ctypes.byref(data))
        return ctypes.cast(callback, ctypes.c_void_p).value

    before = current()
    first, second = EngineLog(), EngineLog()
    ours = current()
    del first
    gc.collect()
    assert current() == ours != before  # taken by the second in the meantime
    del second
    gc.collect()
    own = ctypes.cast(llama_cpp._logger.llama_log_callback, ctypes.c_void_p).value
    assert current() == own


def test_what_the_engine_cannot_load_is_told_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "half.gguf"
    whole = tiny_deci([4, 4], [2, 2])
    path.write_bytes(whole[: len(whole) // 2])
    open_model(path)
    with pytest.raises(HookrunError, match=f"cannot load {path}: .*(bound|corrupt|incomplete)"):
        load_engine(path, "auto")


def test_an_unknown_plan_is_an_error_of_the_map() -> None:
    with pytest.raises(OpMapError):
        plan_for(Stamps.EVAL, [], 0, ())


@pytest.mark.parametrize("brief_ns", [0, 1 << 60])
def test_stamps_in_python_are_the_same_whether_the_gil_is_kept_or_not(
    engine: Any, monkeypatch: pytest.MonkeyPatch, brief_ns: int
) -> None:
    monkeypatch.setattr(runner_module, "BRIEF_NS", brief_ns)
    prompt, ring = tuple(engine.tokenize("The capital of France is")), SpanRing()
    made = instrument(engine, context_settings(), Stamps.ABORT, compiled=False)
    ways = []
    decode_one = made.context.decode_one
    monkeypatch.setattr(made.context, "decode_one", lambda token, brief: (ways.append(brief), decode_one(token, brief)))
    (request,) = Runner(made, ring).run(Workload((prompt,), tokens=5))
    assert ways == [False, *[brief_ns > 0] * 4]
    assert "Paris" in engine.text(request.tokens)
    assert made.tracer.unmapped == 0
    written = spans(ring)
    for token in range(5):
        halves = inside(written, token)
        assert len(halves) == 2 + 2 * LAYERS
        assert all(row["begin_ns"] < row["end_ns"] for row in halves)
        assert all(before["end_ns"] == row["begin_ns"] for before, row in pairwise(halves))
    made.tracer.stop()
    with pytest.raises(Stopped):
        decode_one(1, True)
    with pytest.raises(Stopped):
        decode_one(1, False)
    made.context.close()
