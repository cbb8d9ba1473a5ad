"""Which models are let through to the engine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hookrun.errors import HookrunError
from hookrun.llama.model import open_model

from .gguf_maker import gguf, llama


def write(path: Path, **changes: object) -> Path:
    path.write_bytes(gguf(llama(**changes), [("token_embd.weight", (64, 100), 8)]))
    return path


def test_a_sound_model_is_described(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", llama__attention__head_count=[4, 0, 2], llama__attention__head_count_kv=[2, 0, 1])
    steps: list[tuple[int, int]] = []
    model = open_model(path, lambda done, total: steps.append((done, total)))
    assert (model.n_layer, model.n_head, model.n_head_kv) == (3, (4, 0, 2), (2, 0, 1))
    assert (model.n_embd, model.n_ff, model.n_ctx_train, model.quantisation) == (64, (128, 128, 128), 512, "Q8_0")
    assert model.without_attention == {1}
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert steps[-1] == (model.file_bytes, model.file_bytes)
    assert model.to_map()["n_head"] == [4, 0, 2]


def test_key_value_heads_default_to_query_heads(tmp_path: Path) -> None:
    assert open_model(write(tmp_path / "m.gguf", llama__attention__head_count_kv=None)).n_head_kv == (4, 4, 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"llama__attention__head_count": 7, "llama__attention__head_count_kv": 3}, "layer 0 has 7 query heads for 3 key/value"),
        ({"llama__attention__head_count": [4, 4, 3]}, "layer 2 has 3 query heads for 2"),
        ({"llama__attention__head_count": [4, 4]}, "each of 3 layers"),
        ({"llama__attention__head_count": None}, "without 'attention.head_count'"),
        ({"llama__block_count": 0}, "block_count is 0"),
        ({"llama__block_count": "three"}, "block_count is 'three'"),
        ({"general__architecture": "mamba"}, "architecture 'mamba' without"),
        ({"llama__attention__causal": False}, "generates no text"),
    ],
)
def test_an_impossible_model_is_refused_before_the_engine_sees_it(tmp_path: Path, changes: dict, complaint: str) -> None:
    with pytest.raises(HookrunError, match=complaint):
        open_model(write(tmp_path / "m.gguf", **changes))
