"""Models of transformers' families, for real: each layer's halves, the phases and the requests, and outputs as without us."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .followed import Run, following, torch_adapters
from .pico import FAMILIES, LAYERS, OTHERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
PREFILL, DECODE = 4, 5
PROMPT, NEW = 5, 4


def generate(model: Any, batch: int = 1) -> Any:
    prompt = torch.arange(1, PROMPT + 1).repeat(batch, 1)
    return model.generate(prompt, max_new_tokens=NEW, do_sample=False, pad_token_id=0)


def shape_of(run: Run, token: int) -> list[tuple[str, int]]:
    """Kinds and layers inside one computation, in order."""
    inside = [row for row in run.rows if row["token"] == token and row["kind"] not in ("token", "prefill", "decode", "request")]
    return [(row["kind"], row["layer"]) for row in sorted(inside, key=lambda row: row["begin_ns"])]


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_every_family_shows_its_halves(family: str, tmp_path: Path) -> None:
    model = pico(family)
    plain = generate(model)
    with following(tmp_path, torch_adapters(torch)) as run:
        seen = generate(model)
    assert torch.equal(plain, seen)
    halves = [(kind, layer) for layer in range(LAYERS) for kind in ("attention", "ffn")]
    for token in range(-1, NEW - 1):
        assert shape_of(run, token) == [("embedding", -1), *halves, ("head", -1)]
    assert run.said[:-1] == []
    assert run.begin["model"]["n_layer"] == LAYERS


def test_the_parts_of_a_computation_fill_it_without_a_gap(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run:
        generate(model)
    parts = sorted(
        (row for row in run.of("embedding", "attention", "ffn", "head") if row["token"] == 2), key=lambda r: r["begin_ns"]
    )
    (token,) = [row for row in run.of("token") if row["token"] == 2]
    assert all(before["end_ns"] == after["begin_ns"] for before, after in pairwise(parts))
    assert (parts[0]["begin_ns"], parts[-1]["end_ns"]) == (token["begin_ns"], token["end_ns"])
    assert all(row["begin_ns"] <= row["end_ns"] for row in run.rows)


def test_phases_requests_and_sequences_side_by_side(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run:
        generate(model)
        generate(model, batch=3)
    assert [(row["request"], row["count"], row["batch"]) for row in run.of("prefill")] == [(0, 5, 1), (1, 15, 3)]
    assert [(row["request"], row["count"], row["batch"]) for row in run.of("decode")] == [(0, 3, 1), (1, 9, 3)]
    assert [(row["request"], row["count"], row["batch"]) for row in run.of("request")] == [(0, 8, 1), (1, 24, 3)]
    tokens = [(row["request"], row["token"], row["count"], row["batch"], row["phase"]) for row in run.of("token")]
    assert tokens == [(0, n, 1, 1, DECODE) for n in range(3)] + [(1, n, 3, 3, DECODE) for n in range(3)]
    assert {row["phase"] for row in run.of("attention") if row["token"] == -1} == {PREFILL}
    for request, decode in zip(run.of("request"), run.of("decode"), strict=True):
        assert request["end_ns"] == decode["end_ns"]


@pytest.mark.parametrize("detail", ["layer", "halves"])
def test_detail(detail: str, tmp_path: Path) -> None:
    model = pico("qwen3")
    with following(tmp_path, torch_adapters(torch), detail=detail) as run:
        generate(model)
    layers = [(row["kind"], row["layer"]) for row in run.of("layer", "attention", "ffn") if row["token"] == 0]
    whole = [("layer", layer) for layer in range(LAYERS)]
    halves = [(kind, layer) for layer in range(LAYERS) for kind in ("attention", "ffn")]
    assert layers == (whole if detail == "layer" else halves)
    assert run.begin["settings"]["detail"] == detail


def test_a_plain_loop_with_a_cache(tmp_path: Path) -> None:
    model = pico("smollm3")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        for _ in range(2):
            out = model(torch.arange(1, 7)[None], use_cache=True)
            for _ in range(3):
                token = out.logits[:, -1:].argmax(-1)
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
    assert [(row["request"], row["count"]) for row in run.of("prefill")] == [(0, 6), (1, 6)]
    assert [(row["request"], row["count"]) for row in run.of("decode")] == [(0, 3), (1, 3)]
    assert [(row["request"], row["token"]) for row in run.of("token")] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_a_plain_loop_without_a_cache(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        ids = torch.arange(1, 7)[None]
        for _ in range(4):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert [(row["request"], row["count"]) for row in run.of("prefill")] == [(0, 6)]
    assert [(row["token"], row["count"]) for row in run.of("token")] == [(0, 7), (1, 8), (2, 9)]


def test_the_model_is_described(tmp_path: Path) -> None:
    model = pico("llama")
    with following(tmp_path, torch_adapters(torch)) as run:
        generate(model)
    described = run.begin["model"]
    assert described["n_head"] == [4] * LAYERS
    assert described["n_head_kv"] == [2] * LAYERS
    assert described["n_ff"] == [48] * LAYERS
    assert (described["n_embd"], described["architecture"], described["quantisation"]) == (32, "llama", "float32")
    assert described["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert "torch" in run.begin["settings"]["engine"]
    assert run.end["spans"] == len(run.rows)
