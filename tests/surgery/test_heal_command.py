"""`epi-surgery heal`: a cut GGUF healed, written in its own types, and every wrong pair refused."""

import json

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from epi_surgery.heal.written import storable
from epi_surgery.model import load
from epi_surgery.model.load import Loaded
from epi_surgery.model.source import Source
from epi_surgery.model.tokens import tokenizer_of
from epi_surgery.tensor import block_size
from fakes.surgery_command import refused, run

TOKENS = ("--tokens", 1280, "--window", 32)


def cut(model, folder, *words, name="cut.gguf"):
    plan, out = folder / "plan.json", folder / name
    for command in (
        ("plan", model, "--fraction", 0.25, "--criterion", "random", *words, "--out", plan),
        ("cut", model, plan, "--out", out, "--no-prove"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
    return out


def with_twins(path):
    """Let the second head of every group attend as the first does: then a cut of one of them can be healed."""
    reader = gguf.GGUFReader(path, "r+")
    for tensor in reader.tensors:
        if tensor.name.endswith("attn_q.weight"):
            rows = tensor.data.reshape(-1, 2, 32, tensor.data.shape[-1])
            rows[:, 1] = rows[:, 0]
    del reader
    return path


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_a_cut_model_gets_better_and_keeps_its_types(pico, tmp_path, kind):
    model = pico(kind=Kind[kind], tied=False)
    if kind == "F32":
        with_twins(model)
    made, out = cut(model, tmp_path, "--layout", "balanced"), tmp_path / "healed.gguf"
    result = run("heal", model, made, *TOKENS, "--strength", 0.1, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["healed"] < found["cut"] and found["requantised"] == [] and found["judged_on"] == 256
    before, after = (gguf.GGUFReader(path) for path in (made, out))
    assert [(t.name, t.tensor_type) for t in before.tensors] == [(t.name, t.tensor_type) for t in after.tensors]
    changed = {t.name for t, u in zip(before.tensors, after.tensors, strict=True) if not np.array_equal(t.data, u.data)}
    assert changed and all(name.endswith("attn_output.weight") for name in changed)
    record = json.loads(bytes(after.fields["epi.healing"].parts[-1]))
    assert record["tokens"] == 1024 and record["healing"] == {"strength": 0.1, "feed_forward": False}
    assert after.fields["epi.plan"].parts[-1].tobytes() == before.fields["epi.plan"].parts[-1].tobytes()


def test_a_ragged_folder_gets_better_and_only_its_projections_change(pico, tmp_path):
    model = with_twins(pico(tied=False))
    made, out = cut(model, tmp_path, "--layout", "ragged", "--engine", "torch", name="cut"), tmp_path / "healed"
    result = run("heal", model, made, *TOKENS, "--strength", 0.1, "--distil", 3, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["healed"] < found["cut"]
    before, after = (load_file(path / "model.safetensors") for path in (made, out))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("o_proj.weight") for name in changed)
    assert {name: values.dtype for name, values in before.items()} == {name: values.dtype for name, values in after.items()}
    assert json.loads((out / "config.json").read_text())["epi_healing"]["tokens"] == 1024
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in out.iterdir())
    refused(run("heal", model, made, *TOKENS, "--out", out), "already exists")
    refused(run("heal", model, tmp_path, *TOKENS, "--out", tmp_path / "x"), "not a folder that epi-surgery cut")


def test_healing_that_makes_it_worse_writes_nothing(pico, tmp_path):
    model = pico()
    made = cut(model, tmp_path)
    refused(
        run("heal", model, made, "--tokens", 40, "--window", 20, "--strength", 0, "--out", tmp_path / "h.gguf"),
        "made it worse",
        "--tokens",
    )
    assert not (tmp_path / "h.gguf").exists() and not list(tmp_path.glob(".*"))


def test_every_step_has_a_window_of_its_own(pico, tmp_path, monkeypatch):
    seen = []

    def record(dense, pupil, windows, names, plan, advance):
        seen.append(windows)
        return {name: pupil.model.get_parameter(name).data for name in names}

    model = with_twins(pico(tied=False))
    made, text = cut(model, tmp_path, "--layout", "balanced"), tmp_path / "text.txt"
    text.write_text(" ".join(str(number) for number in range(9000)))
    monkeypatch.setattr("epi_surgery.heal.task.distil", record)
    words = ("--text", text, "--text", text, "--tokens", 1312, "--window", 32, "--strength", 0.1, "--out", tmp_path / "h.gguf")
    for steps in (1, 2, 5):
        result = run("heal", model, made, *words, "--distil", steps, "--force")
        assert result.exit_code == 0, result.output
        assert len(seen[-1]) >= steps
        # Both texts are the same file, so every window is there twice.
        assert len(seen[-1].unique(dim=0)) >= steps / 2
    refused(run("heal", model, made, *words, "--distil", 10_000, "--force"), "too few", "steps")


def test_wrong_pairs_are_refused(pico, tmp_path):
    model, other = pico(), pico("other.gguf", seed=2)
    made, out = cut(model, tmp_path), tmp_path / "h.gguf"
    refused(run("heal", other, made, *TOKENS, "--out", out), "was cut from a model with sha256", "not from")
    refused(run("heal", model, other, *TOKENS, "--out", out), "does not say what it was cut from")
    refused(run("heal", model, made, "--tokens", 32, "--window", 32, "--out", out), "too few to heal on some")
    refused(run("heal", model, made, *TOKENS, "--out", made, "--force"), "is the model itself")
    assert not out.exists()


def test_layers_without_attention_load_and_stay_without(pico, tmp_path):
    model = pico()
    scores = tmp_path / "s.json"
    run("rank", model, "--criterion", "random", "--out", scores)
    body = json.loads(scores.read_text())
    body["scores"][1] = [-9.0] * 8
    scores.write_text(json.dumps(body))
    made = cut(model, tmp_path, "--scores", scores, "--fraction", 0.33, "--layout", "groups", "--attention-free")
    loaded: Loaded = load(made)
    assert loaded.n_head == (8, 0, 8) and [layer.index for layer in loaded.layers] == [0, 2]
    with torch.no_grad():
        assert bool(loaded.model(torch.arange(10)[None]).logits.isfinite().all())
    refused(run("rank", made, "--out", tmp_path / "t.json"), "layer 1 has no attention")


@given(st.sampled_from(list(Kind)), st.integers(1, 40))
def test_what_can_be_stored_divides_the_row(kind, n):
    row = n * 32
    found = storable(kind, row)
    assert row % block_size(found) == 0
    assert found == kind or found in (Kind.Q8_0, Kind.F16)


def test_a_cut_file_has_its_models_tokens(pico, tmp_path):
    model = pico()
    made = cut(model, tmp_path, "--layout", "groups")
    assert bytes(gguf.GGUFReader(made).fields["general.architecture"].parts[-1]) == b"deci"
    before, after = (tokenizer_of(Source(path, None)) for path in (model, made))
    text = "It's 12 o'clock, they said."
    assert after(text)["input_ids"] == before(text)["input_ids"] != []
    assert after.bos_token_id == before.bos_token_id
