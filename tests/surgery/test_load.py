"""Loading: folders and GGUFs of every family, checked against transformers itself, and refusals by a tensor's name."""

import json

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from epi_surgery.errors import SurgeryError
from epi_surgery.gqa import keep
from epi_surgery.model import load, masked
from epi_surgery.model.gates import on_heads
from epi_surgery.model.source import find_source, identify
from epi_surgery.model.stepwise import logits
from fakes.pico_folder import FAMILIES, write_folder

IDS = torch.arange(24).view(2, 12) * 7 % 250


def reference(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(IDS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_computes_what_transformers_computes(family, tmp_path):
    folder = write_folder(tmp_path / family, family, shard="60KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    loaded = load(folder)
    assert loaded.n_head == (6, 6, 6) and loaded.n_kv == (2, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(IDS).logits, reference(folder), rtol=0, atol=0)
        torch.testing.assert_close(logits(loaded, IDS), reference(folder), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_a_gguf_gives_the_model_that_transformers_reads_from_it(pico, kind):
    path = pico(kind=gguf.GGMLQuantizationType[kind], n_head=4, n_kv=2, head_dim=32, tied=False)
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ours = load(path).model
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), parameter, rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits, rtol=0, atol=0)


def test_the_factors_of_llama_3_reach_the_rotation(pico):
    factors = torch.linspace(1, 8, 16).numpy()
    plain, scaled = load(pico("plain.gguf")), load(pico("scaled.gguf", extra={"rope_freqs.weight": factors}))
    ratio = plain.model.model.rotary_emb.inv_freq / scaled.model.model.rotary_emb.inv_freq
    torch.testing.assert_close(ratio, torch.from_numpy(factors))


def test_a_silenced_head_is_a_zero_column_of_the_output_projection(tmp_path):
    loaded = load(write_folder(tmp_path / "m"))
    kept = [keep([0, 1, 2, 3, 4, 5], 6, 2), keep([1, 2, 4, 5], 6, 2), keep([0, 1, 2], 6, 2)]
    with torch.no_grad(), masked(loaded.layers, kept):
        silenced = logits(loaded, IDS)
    loaded.layers[1].o.weight.data[:, [*range(16), *range(48, 64)]] = 0
    loaded.layers[2].o.weight.data[:, 48:] = 0
    with torch.no_grad():
        torch.testing.assert_close(silenced, logits(loaded, IDS), rtol=0, atol=0)


def test_hooks_are_gone_after_the_block(tmp_path):
    loaded = load(write_folder(tmp_path / "m"))
    with pytest.raises(ZeroDivisionError), on_heads(loaded.layers, lambda _, heads: heads * 0):
        raise ZeroDivisionError
    assert not any(layer.o._forward_pre_hooks for layer in loaded.layers)


def test_the_identity_is_that_of_the_weights(tmp_path):
    one, again = write_folder(tmp_path / "m", seed=1), write_folder(tmp_path / "n" / "m", seed=1)
    other = write_folder(tmp_path / "o" / "m", seed=2)
    first, second, third = (identify(find_source(path), None, lambda _: None) for path in (one, again, other))
    assert first.sha256 == second.sha256 != third.sha256
    assert first.n_bytes == (one / "config.json").stat().st_size + (one / "model.safetensors").stat().st_size


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def renamed(folder, old, new):
    tensors = load_file(folder / "model.safetensors")
    tensors[new] = tensors.pop(old)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


Q0 = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: edited(f, model_type="mixtral"), ["mixtral", "llama, mistral"]),
        (lambda f: edited(f, quantization_config={"bits": 4}), ["quantised"]),
        (lambda f: (f / "config.json").write_text("{"), ["no valid JSON"]),
        (lambda f: (f / "config.json").unlink(), ["no config.json"]),
        (lambda f: (f / "model.safetensors").unlink(), ["no model.safetensors"]),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), ["not a safetensors file"]),
        (lambda f: renamed(f, Q0, "model.layers.1.self_attn.qkv_proj.weight"), ["qkv_proj", "fused"]),
        (lambda f: renamed(f, Q0, "model.layers.1.mlp.experts.0.w1.weight"), ["experts.0", "mixture"]),
        (lambda f: renamed(f, Q0, "something.weight"), [Q0, "missing"]),
        (
            lambda f: (edited(f, model_type="phi3"), renamed(f, Q0, "model.layers.1.self_attn.qkv_proj.weight")),
            ["qkv_proj", "fused"],
        ),
    ],
)
def test_a_folder_is_refused_by_what_stands_in_the_way(tmp_path, spoil, words):
    folder = write_folder(tmp_path / "m")
    spoil(folder)
    with pytest.raises(SurgeryError) as caught:
        load(folder)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_truncated_shard_is_refused_by_its_name(tmp_path):
    folder = write_folder(tmp_path / "m", shard="60KB")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(SurgeryError, match=rf"{shard.name}: truncated"):
        load(folder)
    shard.unlink()
    with pytest.raises(SurgeryError, match=rf"{shard.name}: missing"):
        load(folder)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("blk.0.ffn_gate_inp.weight", "mixture of experts"),
        ("blk.0.attn_qkv.weight", "fused query"),
        ("blk.0.ssm_a", "blk.0.ssm_a"),
    ],
)
def test_a_gguf_is_refused_by_its_foreign_tensor(pico, extra, words):
    path = pico(extra={extra: torch.zeros(256).numpy()})
    with pytest.raises(SurgeryError, match=words):
        load(path)


def test_a_path_without_a_model(tmp_path):
    with pytest.raises(SurgeryError, match="no such file"):
        load(tmp_path / "nothing")
    with pytest.raises(SurgeryError, match=r"no config\.json"):
        load(tmp_path)
