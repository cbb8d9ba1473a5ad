"""Which commands and models are let through to distributed-llama."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from epi_protocol.events import KIND, KIND_NAME
from hookrun.dllama.invocation import read_invocation
from hookrun.dllama.model_file import read_model_file
from hookrun.dllama.shapes import check_shapes
from hookrun.dllama.steps import step_plan
from hookrun.errors import HookrunError

from . import dllama_maker as maker
from .dllama_maker import header, write_model


def test_a_header_is_read_in_the_words_of_all_engines(tmp_path: Path) -> None:
    model = read_model_file(write_model(tmp_path / "m.m"))
    assert (model.file_bytes, model.expected_bytes) == (maker.tiny_bytes(),) * 2
    described = model.to_map()
    assert (described["architecture"], described["quantisation"], described["n_layer"]) == ("llama", "Q40", 2)
    assert (described["n_head"], described["n_head_kv"], described["n_ff"]) == ([4, 4], [2, 2], [128, 128])
    for nodes in (1, 2):
        check_shapes(model, nodes)


def test_the_length_of_a_real_model_is_the_known_one(tmp_path: Path) -> None:
    """SmolLM2-135M in Q40 makes a file of 189.0 MB, 6/3 185.3, 6/2 184.1 and as 8/8 194.0 (measured with the program)."""
    shape = {"dim": 576, "hidden_dim": 1536, "n_layers": 30, "vocab_size": 49152, "head_dim": 64}
    for heads, kv, megabytes in ((9, 3, 189.0), (6, 3, 185.3), (6, 2, 184.1), (8, 8, 194.0)):
        model = read_model_file(write_model(tmp_path / "m.m", n_heads=heads, n_kv_heads=kv, **shape))
        assert model.expected_bytes / 1e6 == pytest.approx(megabytes, abs=0.06)


@pytest.mark.parametrize(
    ("changes", "nodes", "complaint"),
    [
        ({"n_heads": 3, "head_dim": 16}, 1, "3 query heads and 2 key/value heads do not divide; .*garbage"),
        ({"n_heads": 6, "n_kv_heads": 3, "head_dim": 16}, 2, "cannot be shared among 2 nodes; .*garbage. Use 1 or 3 nodes"),
        ({}, 3, "cannot be shared among 3 nodes.*Use 1 or 2 nodes"),
        ({}, 4, "cannot be shared among 4 nodes"),
        ({"n_heads": 2}, 1, "bytes and its shapes ask for .*crash.*HEAD_DIM"),
        ({"hidden_dim": 96}, 2, "bytes and its shapes ask for"),
    ],
)
def test_shapes_that_would_be_garbage_or_a_crash_are_refused(
    tmp_path: Path, changes: dict[str, int], nodes: int, complaint: str
) -> None:
    with pytest.raises(HookrunError, match=complaint):
        check_shapes(read_model_file(write_model(tmp_path / "m.m", **changes)), nodes)


def test_blocks_of_weights_have_to_be_whole_on_each_node(tmp_path: Path) -> None:
    sound = read_model_file(write_model(tmp_path / "m.m", hidden_dim=96))
    whole = read_model_file(write_model(tmp_path / "m.m", sound.expected_bytes, hidden_dim=96))
    check_shapes(whole, 1)
    with pytest.raises(HookrunError, match="hidden_dim 96 is no multiple of 64, which 2 nodes with Q40 weights need"):
        check_shapes(whole, 2)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no distributed-llama model"),
        (b"GGUF" + bytes(40), "no distributed-llama model"),
        (header()[:20], "cut off within its header"),
        (header(n_layers=None), "lacks n_layer"),
        (header(n_heads=0), "below 1"),
        (header(arch=7), "unknown to distributed-llama"),
        (header(weight_type=9), "unknown to distributed-llama"),
    ],
)
def test_what_is_no_model_is_one_sentence(tmp_path: Path, data: bytes, complaint: str) -> None:
    (tmp_path / "m.m").write_bytes(data)
    with pytest.raises(HookrunError, match=complaint):
        read_model_file(tmp_path / "m.m")


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HookrunError, match=r"cannot read the model .*nowhere\.m: No such file"):
        read_model_file(tmp_path / "nowhere.m")


@pytest.mark.parametrize("arch", [maker.QWEN3, maker.QWEN3_MOE])
def test_other_architectures_have_lengths_but_no_known_steps(tmp_path: Path, arch: int) -> None:
    changes = {"arch": arch, "n_experts": 4, "moe_hidden_dim": 32, "head_dim": 16}
    model = read_model_file(write_model(tmp_path / "m.m", **changes))
    per_layer = 4 * 2 * 16 + (0 if arch == maker.QWEN3 else 4 * 4 * 64 + 18 / 32 * 3 * 64 * (4 * 32 - 128))
    assert model.expected_bytes == maker.tiny_bytes() + len(header(**changes)) - len(header()) + 2 * per_layer
    assert (step_plan(model, 1) is None) == (arch == maker.QWEN3_MOE)


STEPS = {
    (maker.LLAMA, maker.Q40): 1 + 2 * (15 + 11) + 6,
    (maker.LLAMA, maker.F32): 1
    + 2 * (14 + 9)
    + 5,  # nothing is cast to Q80: once less for q, k and v, twice in the feed-forward, once in the head
    (maker.QWEN3, maker.Q40): 1 + 2 * (19 + 11) + 6,  # queries and keys are normed, in two operations each
    (maker.QWEN3, maker.F32): 1 + 2 * (18 + 9) + 5,
}


@pytest.mark.parametrize(("arch", "weight"), STEPS)
def test_dense_models_have_known_steps(tmp_path: Path, arch: int, weight: int) -> None:
    model = read_model_file(write_model(tmp_path / "m.m", arch=arch, weight_type=weight, head_dim=16))
    plan, shared = step_plan(model, 1), step_plan(model, 3)
    assert plan is not None
    assert shared is not None
    assert plan.steps == STEPS[arch, weight]
    assert shared.steps == plan.steps + 2 + 2 * 2
    assert [KIND_NAME[kind] for kind in plan.block.kinds] == ["embedding", *["attention", "ffn"] * 2, "head"]


def test_weights_that_distributed_llama_does_not_run_have_no_steps(tmp_path: Path) -> None:
    assert step_plan(read_model_file(write_model(tmp_path / "m.m", weight_type=maker.F16)), 1) is None


def test_the_steps_of_smollm2_are_the_counted_ones(tmp_path: Path) -> None:
    """787 steps for 30 layers on one node and 62 exchanges more on two; the timer is asked 1 + 2 * steps times."""
    model = read_model_file(write_model(tmp_path / "m.m", n_layers=30, dim=576, n_heads=9, n_kv_heads=3))
    alone, shared = step_plan(model, 1), step_plan(model, 2)
    assert alone is not None
    assert shared is not None
    assert (alone.steps, alone.clock_calls) == (787, 1575)
    assert (shared.steps, list(shared.block.kinds).count(KIND["sync"])) == (849, 62)
    assert (len(alone.block), len(shared.block)) == (62, 124)
    assert alone.ends[-1] == 786
    assert list(alone.block.layers) == [-1, *(layer for layer in range(30) for _ in range(2)), -1]


INFERENCE = ["inference", "--model", "m.m", "--prompt", "--steps are cut.", "--steps", "64", "--nthreads", "4"]


def test_a_command_is_understood_and_left_as_it_is() -> None:
    command = [sys.executable, *INFERENCE, "--workers", "10.0.0.2:9999", "10.0.0.3:9999", "--net-turbo", "0"]
    found = read_invocation(command)
    assert found.command == tuple(command)
    assert (found.model, found.prompt, found.steps, found.threads) == (Path("m.m"), "--steps are cut.", 64, 4)
    assert (found.workers, found.nodes, found.is_worker) == (("10.0.0.2:9999", "10.0.0.3:9999"), 3, False)
    assert found.warnings() == []
    assert read_invocation([sys.executable, "worker", "--port", "9999"]).is_worker


def test_a_prompt_without_a_full_stop_is_warned_of() -> None:
    found = read_invocation([sys.executable, "inference", "--model", "m", "--prompt", "The capital of France"])
    assert "last token by a stale one" in found.warnings()[0]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ([], "no command"),
        (["no-such-program-here", "inference"], "cannot find the program 'no-such-program-here'"),
        ([sys.executable], "mode is ''; inference, worker can be measured"),
        ([sys.executable, "chat", "--model", "m"], "mode is 'chat'"),
        ([sys.executable, "inference", "--help"], "without --model; it would crash"),
    ],
)
def test_commands_that_cannot_be_measured_are_one_sentence(command: list[str], complaint: str) -> None:
    with pytest.raises(HookrunError, match=complaint):
        read_invocation(command)
