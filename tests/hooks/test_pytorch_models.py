"""Models that lie in folders: what is written down about them, a whole program around one, and what the hooks cost it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hookrun.cli import main
from hookrun.pytorch.weights import weights_map

from .followed import following, read_run, torch_adapters
from .pico import LAYERS, pico

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "pico-llama"
    pico("llama").save_pretrained(folder)
    return folder


def test_the_file_and_its_hash(folder: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with following(tmp_path, torch_adapters(torch)) as run, torch.no_grad():
        model(torch.arange(1, 6)[None])
    weights = folder / "model.safetensors"
    described = run.begin["model"]
    assert (described["name"], described["file"]) == ("pico-llama", "model.safetensors")
    assert described["file_bytes"] == weights.stat().st_size
    assert described["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "eval" not in described
    assert run.begin["label"] == "pico-llama"


@pytest.mark.parametrize("fits", [True, False])
def test_the_plan_and_the_evaluation_beside_it(fits: bool, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest() if fits else "other"
    evaluation = {"format": "epi-surgery eval", "version": 1, "model": {"sha256": digest}}
    (tmp_path / "model.safetensors.eval.json").write_text(json.dumps(evaluation))
    (tmp_path / "plan.json").write_text(json.dumps({"format": "epi-surgery plan", "layers": []}))
    found = weights_map(str(tmp_path))
    assert found["plan"] == {"format": "epi-surgery plan", "layers": []}
    assert (found["eval_matches"], found.get("eval")) == (fits, evaluation if fits else None)


def test_the_hubs_cache_knows_the_hash_already(tmp_path: Path) -> None:
    digest = "ab" * 32
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / digest).write_bytes(b"not what the name says, so this was not read")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / digest)
    assert weights_map(str(tmp_path / "snapshot"))["sha256"] == digest


@pytest.mark.parametrize("name", ["", "no/such/folder", "surely-no-model"])
def test_a_model_without_a_file(name: str) -> None:
    assert weights_map(name) == {}


def test_a_program_from_outside(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys, torch\nfrom transformers import AutoModelForCausalLM\ntorch.set_num_threads(1)\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "out = model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=4, do_sample=False, pad_token_id=0)\n"
        "print(out.shape[1])\n"
    )
    out = tmp_path / "run.events"
    command = [sys.executable, "-m", "hookrun", "--out", str(out), "--detail", "layer", "--repeat-layers", "random:3,2", "--"]
    done = subprocess.run([*command, sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
    run = read_run(out)
    assert len(run.of("layer")) == 4 * LAYERS
    assert len(run.of("repeat")) % 2 == 0
    assert run.begin["label"] == "pico-llama"
    assert [row["count"] for row in run.of("prefill", "decode", "request")] == [3, 3, 6]


def test_overhead_compares_on_and_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["overhead", "--torch", "--model", str(folder), "--threads", "1", "--rounds", "6", "--tokens", "2"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in result["arms"]] == ["nothing", "nothing, again", "layers", "layers in halves"]
    assert result["spans_per_token"] == {"layers": LAYERS + 3, "layers in halves": 2 * LAYERS + 3}
    assert result["spans_lost"] == 0
    assert all(arm["wall"]["interval"][0] <= arm["wall"]["median"] <= arm["wall"]["interval"][1] for arm in result["arms"])
    assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl
    assert main(words) == 0
    assert "layers in halves" in capsys.readouterr().out


def test_overhead_says_what_cannot_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words: list[Any] = ["overhead", "--torch", "--model"]
    assert main([*words, str(tmp_path / "none.gguf")]) == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert main([*words, str(tmp_path)]) == 1
    assert "transformers cannot load" in capsys.readouterr().err
