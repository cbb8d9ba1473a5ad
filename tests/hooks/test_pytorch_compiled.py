"""torch.compile: what is seen of it and what is not, and that it compiles the program and not us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .followed import following, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
PROMPT = torch.arange(1, 6)[None]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("way", ["around", "in place"])
def test_a_compiled_model_shows_its_tokens(way: str, tmp_path: Path) -> None:
    model = pico("llama")
    with torch.no_grad():
        expected = model(PROMPT, use_cache=False).logits
        if way == "in place":
            model.compile(backend="eager")
        compiled = torch.compile(model, backend="eager") if way == "around" else model
        with following(tmp_path, torch_adapters(torch)) as run:
            out = compiled(PROMPT, use_cache=False).logits
    assert torch.allclose(out, expected, atol=1e-5)
    assert len(run.of("request")) == 1
    assert run.of("attention", "ffn", "layer") == []
    assert "compiled code" in run.said[0]


def test_compiled_layers_are_seen_whole(tmp_path: Path) -> None:
    model = pico("llama")
    for layer in model.model.layers:
        layer.compile(backend="eager")
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        model(PROMPT, use_cache=False)
    assert [row["layer"] for row in run.of("layer")] == list(range(LAYERS))
    assert run.of("attention") == []


def test_no_graph_breaks_because_of_us(tmp_path: Path) -> None:
    model = pico("llama")
    with torch.no_grad():
        plain = torch._dynamo.explain(model)(PROMPT, use_cache=False).graph_count
        torch._dynamo.reset()
        with following(tmp_path, torch_adapters(torch)):
            model(PROMPT, use_cache=False)
            seen = torch._dynamo.explain(model)(PROMPT, use_cache=False).graph_count
    assert seen == plain
