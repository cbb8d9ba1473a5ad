"""`llama_cpp.Llama` objects of a program: the same spans as `hookrun llama`, the same words as without us."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookrun.llama.opmap import Node
from hookrun.program.recorder import Recorder
from hookrun.program.spec import ProgramSpec

from .followed import following

llama_cpp = pytest.importorskip("llama_cpp")
LAYERS = 30


def attach(recorder: Recorder, spec: ProgramSpec) -> list[Any]:
    from hookrun.llama_python.adapter import LlamaAdapter

    return [LlamaAdapter.attach(llama_cpp, recorder, spec)]


@pytest.fixture(scope="module")
def llama(smollm2: Path) -> Iterator[Any]:
    made = llama_cpp.Llama(str(smollm2), n_ctx=256, n_threads=1, verbose=False)
    yield made
    made.close()


def answer(llama: Any, text: str = "The capital of France is", tokens: int = 4) -> str:
    llama.reset()
    return str(llama(text, max_tokens=tokens, temperature=0)["choices"][0]["text"])


def test_layers_tokens_and_requests(llama: Any, tmp_path: Path) -> None:
    plain = answer(llama)
    with following(tmp_path, attach) as run:
        assert answer(llama) == plain
        assert answer(llama, "One two", 3)
    assert run.said[:-1] == []
    assert run.end["spans"] == len(run.rows)
    assert [(row["request"], row["count"]) for row in run.of("prefill")] == [(0, 5), (1, 2)]
    assert [(row["request"], row["token"]) for row in run.of("token")] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert len(run.of("request")) == 2
    per_computation = Counter((row["request"], row["token"]) for row in run.of("attention", "ffn"))
    assert set(per_computation.values()) == {2 * LAYERS}
    assert len(per_computation) == 7
    settings, model = run.begin["settings"], run.begin["model"]
    assert settings["stamps"]["mode"] == "abort"
    assert settings["stamps"]["calls_per_token"] > 500
    assert model["n_head"] == [9] * LAYERS
    assert model["sha256"].startswith("b179c952")


def test_the_parts_of_a_token_lie_inside_it(llama: Any, tmp_path: Path) -> None:
    with following(tmp_path, attach) as run:
        answer(llama)
    (token,) = [row for row in run.of("token") if row["token"] == 1]
    parts = [row for row in run.of("embedding", "attention", "ffn", "head") if row["token"] == 1]
    assert parts[0]["begin_ns"] == token["begin_ns"]
    assert max(row["end_ns"] for row in parts) <= token["end_ns"]
    assert all(row["begin_ns"] <= row["end_ns"] for row in parts)


def test_generate_and_eval_without_the_high_level_call(llama: Any, tmp_path: Path) -> None:
    prompt = llama.tokenize(b"One two three four")
    with following(tmp_path, attach) as run:
        llama.reset()
        for number, _token in enumerate(llama.generate(prompt, temp=0)):
            if number == 2:
                break
        llama.reset()
        llama.eval(prompt)
        llama.eval([5])
    assert [(row["request"], row["count"]) for row in run.of("prefill")] == [(0, len(prompt)), (1, len(prompt))]
    assert [(row["request"], row["count"]) for row in run.of("decode")] == [(0, 2), (1, 1)]


def test_detaching_puts_everything_back(llama: Any, tmp_path: Path) -> None:
    from llama_cpp import _internals

    def logging() -> tuple[int | None, int | None]:
        callback, data = llama_cpp.llama_cpp.llama_log_callback(), ctypes.c_void_p()
        llama_cpp.llama_cpp.llama_log_get(ctypes.byref(callback), ctypes.byref(data))
        return ctypes.cast(callback, ctypes.c_void_p).value, data.value

    def owned() -> tuple[Any, ...]:
        return _internals.LlamaContext.decode, llama_cpp.Llama.generate, logging(), set(vars(llama)), set(vars(llama._ctx))

    before = owned()
    with following(tmp_path, attach) as run:
        answer(llama)
        assert owned()[:2] != before[:2]
        assert owned()[2:] == before[2:]
    spans = len(run.rows)
    assert owned() == before
    answer(llama)
    assert len(run.rows) == spans


def test_probes_say_nothing_on_the_programs_stderr(smollm2: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = llama_cpp.Llama(str(smollm2), n_ctx=64, n_threads=1, verbose=False)
    llama_cpp.llama_cpp.llama_log_set(llama_cpp.llama_cpp.llama_log_callback(), None)  # everything to stderr
    try:
        capfd.readouterr()
        with following(tmp_path, attach):
            made.eval([1, 2, 3])
        assert capfd.readouterr().err == ""
    finally:
        from llama_cpp import _logger

        llama_cpp.llama_cpp.llama_log_set(_logger.llama_log_callback, ctypes.c_void_p(0))
        made.close()


def test_a_second_model_is_left_alone(llama: Any, smollm2: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.gguf"
    copy.symlink_to(smollm2)
    other = llama_cpp.Llama(str(copy), n_ctx=64, n_threads=1, verbose=False)
    with following(tmp_path, attach) as run:
        llama.reset()
        llama.eval([1, 2])
        other.eval([1, 2, 3])
    other.close()
    assert [row["count"] for row in run.of("prefill")] == [2]
    assert "a second model is called (other.gguf)" in run.said[0]


def test_a_graph_that_is_not_understood_leaves_the_tokens(llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookrun.llama_python.borrowed.BorrowedModel.graph", lambda _self, _tokens: [Node("x", "MUL_MAT")])
    plain = answer(llama)
    with following(tmp_path, attach) as run:
        assert answer(llama) == plain
    assert "layers cannot be told apart in this model" in run.said[0]
    assert run.of("attention", "ffn", "layer") == []
    assert len(run.of("token")) == 3
