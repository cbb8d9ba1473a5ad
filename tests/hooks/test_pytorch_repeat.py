"""Repeated layers: the program's outputs bit for bit as without, its cache untouched, and every repetition written down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hookrun.program.spec import Repetition
from hookrun.pytorch import repeater, repetition
from hookrun.pytorch.repetition import SHARE, Draw

from .followed import following, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
PROMPT = torch.arange(1, 6)[None]
NEW = 24


def generate(model: Any, **changes: Any) -> Any:
    return model.generate(
        PROMPT, max_new_tokens=NEW, do_sample=False, pad_token_id=0, return_dict_in_generate=True, output_logits=True, **changes
    )


def cached(out: Any) -> list[Any]:
    return [tensor for layer in out.past_key_values.layers for tensor in (layer.keys, layer.values)]


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_moe"])  # a growing cache, a sliding one, routed experts
@pytest.mark.parametrize("times", [1, 3])
def test_outputs_and_cache_are_bit_for_bit_the_same(family: str, times: int, tmp_path: Path) -> None:
    model = pico(family)
    plain = generate(model)
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(7, times)) as run:
        repeated = generate(model)
    assert torch.equal(plain.sequences, repeated.sequences)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, repeated.logits, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(cached(plain), cached(repeated), strict=True))
    assert run.said[:-1] == []
    repeats = Counter((row["token"], row["layer"]) for row in run.of("repeat"))
    assert set(repeats.values()) == {times}
    assert len({layer for _token, layer in repeats}) == LAYERS
    assert len(run.of("ffn")) == LAYERS * NEW
    assert run.begin["settings"]["repeat_layers"] == {"seed": 7, "times": times, "share": SHARE}


def test_a_repetition_follows_its_layer_within_the_token(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(1)) as run:
        generate(model)
    ffn = {(row["token"], row["layer"]): row for row in run.of("ffn")}
    tokens = {row["token"]: row for row in run.of("token")}
    repeats = run.of("repeat")
    assert repeats
    for row in repeats:
        assert row["begin_ns"] == ffn[row["token"], row["layer"]]["end_ns"]
        assert row["begin_ns"] < row["end_ns"] < tokens[row["token"]]["end_ns"]
        assert (row["phase"], row["count"], row["batch"]) == (5, 1, 1)


def test_the_same_seed_draws_the_same_layers(tmp_path: Path) -> None:
    drawn = []
    for seed in (5, 5, 6):
        folder = tmp_path / str(len(drawn))
        folder.mkdir()
        with following(folder, torch_adapters(torch), repetition=Repetition(seed)) as run:
            generate(pico("llama"))
        drawn.append([(row["token"], row["layer"]) for row in run.of("repeat")])
    assert drawn[0] == drawn[1] != drawn[2]


def test_layers_are_drawn_evenly_and_half_of_the_tokens_stay_plain() -> None:
    draw = Draw(3, 4)
    counts = Counter(draw.next() for _ in range(4000))
    assert counts[-1, False] == pytest.approx(2000, abs=200)
    assert all(counts[layer, False] == pytest.approx(500, abs=120) for layer in range(4))


def test_every_second_repeat_of_halves_is_of_attention_alone() -> None:
    draw = Draw(3, 4, halves=True)
    counts = Counter(draw.next() for _ in range(4000))
    assert all(counts[layer, alone] == pytest.approx(250, abs=80) for layer in range(4) for alone in (True, False))


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_moe"])
@pytest.mark.parametrize("times", [1, 3])
def test_halves_repeat_unseen_and_each_in_its_place(family: str, times: int, tmp_path: Path) -> None:
    model = pico(family)
    plain = generate(model)
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(7, times, halves=True)) as run:
        repeated = generate(model)
    assert torch.equal(plain.sequences, repeated.sequences)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, repeated.logits, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(cached(plain), cached(repeated), strict=True))
    assert run.said[:-1] == [] and run.of("repeat") == []
    attention, ffn = ([(row["token"], row["layer"]) for row in run.of(f"repeat_{half}")] for half in ("attention", "ffn"))
    assert set(ffn) < set(attention), "the second half never comes alone"
    assert set(Counter(attention).values()) == set(Counter(ffn).values()) == {times}
    assert set(attention) - set(ffn), "some attention halves came alone"
    assert len(run.of("attention")) == len(run.of("ffn")) == LAYERS * NEW
    assert run.begin["settings"]["repeat_halves"] == {"seed": 7, "times": times, "share": SHARE}
    ends = {(row["token"], row["layer"]): row["end_ns"] for row in run.of("ffn")}
    for row in run.of("repeat_attention"):
        assert row["begin_ns"] >= ends[row["token"], row["layer"]]


def test_halves_are_not_repeated_where_weights_are_moved_in_and_out(tmp_path: Path) -> None:
    model = pico("llama")
    for layer in model.model.layers:
        layer.mlp._hf_hook = object()
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(7, halves=True)) as run:
        generate(model)
    assert run.of("repeat_attention") == [] and "moved in and out" in run.said[0]


@pytest.mark.parametrize(
    ("what", "reason"), [("static cache", "written in place"), ("training", "training mode"), ("hooks", "hooks of its own")]
)
def test_what_cannot_be_repeated_unseen_is_not_repeated(what: str, reason: str, tmp_path: Path) -> None:
    model = pico("llama")
    seen: list[int] = []
    if what == "hooks":
        model.model.layers[0].mlp.register_forward_hook(lambda *_: seen.append(0))
        model.model.layers[1].mlp.register_forward_hook(lambda *_: seen.append(1))
        model.model.layers[2].mlp.register_forward_hook(lambda *_: seen.append(2))
    changes = {"cache_implementation": "static", "disable_compile": True} if what == "static cache" else {}
    model.train(what == "training")
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(7)) as run:
        generate(model, **changes)
    assert run.of("repeat") == []
    assert len(run.of("ffn")) == LAYERS * NEW
    assert reason in run.said[0]
    assert len(seen) == (LAYERS * NEW if what == "hooks" else 0)


def test_a_repetition_that_fails_is_not_the_programs_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pico("llama")
    plain = generate(model)
    taken: list[Any] = []

    def snapshot(*arguments: Any) -> Any:
        restore = repetition.snapshot(*arguments)
        taken.append(restore)
        return restore if len(taken) > 1 else lambda: [restore(), _no_memory()]

    monkeypatch.setattr(repeater, "snapshot", snapshot)
    with following(tmp_path, torch_adapters(torch), repetition=Repetition(7)) as run:
        repeated = generate(model)
    assert torch.equal(plain.sequences, repeated.sequences)
    assert all(torch.equal(a, b) for a, b in zip(cached(plain), cached(repeated), strict=True))
    assert "not repeated any more: MemoryError" in run.said[0]
    assert run.of("repeat") == []


def _no_memory() -> None:
    raise MemoryError("no more memory")
