"""Cuts in PyTorch: equal to the masked original in prefill, decoding, batches; checkpoints that come back as they went."""

import copy
import errno
import json

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

import epi_surgery  # noqa: E402
from epi_surgery.errors import SurgeryError  # noqa: E402
from epi_surgery.gqa import LayerHeads, all_heads, keep_any  # noqa: E402
from epi_surgery.model.attention import attention_layers  # noqa: E402
from epi_surgery.model.gates import masked  # noqa: E402
from epi_surgery.torch_cut.attention import GroupedAttention  # noqa: E402
from epi_surgery.torch_cut.cutting import cut_model, kept_groups, uncut  # noqa: E402
from epi_surgery.torch_cut.projection import projection  # noqa: E402
from fakes.surgery_command import run  # noqa: E402

FAMILIES = {"llama": {}, "mistral": {"sliding_window": None}, "qwen2": {}, "qwen3": {"head_dim": 16}}
FAMILIES["smollm3"] = {"no_rope_layers": [1, 0, 1, 0], "pad_token_id": 0}
N_LAYER, N_HEAD, N_KV = 4, 12, 4
KEPT = [keep_any([0, 2, 3, 4, 7, 11], 12, 4), keep_any([1, 6, 7, 8], 12, 4), LayerHeads((), ()), all_heads(12, 4)]


def tiny(family, **more):
    torch.manual_seed(1)
    settings = {"hidden_size": 192, "intermediate_size": 64, "num_hidden_layers": N_LAYER, "num_attention_heads": N_HEAD}
    settings |= {"num_key_value_heads": N_KV, "vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2}
    config = AutoConfig.for_model(family, **settings, **FAMILIES[family], **more)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:  # as made they are all one, or all nought, and would hide a mistake
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model.requires_grad_(False)


def cut(model, kept):
    layers = attention_layers(model)
    shortened = copy.deepcopy(model)
    cut_model(shortened, attention_layers(shortened), uncut(layers) if kept is None else kept_groups(layers, kept))
    return shortened


def distance(one, other):
    return float((one - other).abs().max())


IDS = torch.randint(3, 300, (1, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_cut_equals_masked_at_once_and_step_by_step(family):
    model = tiny(family)
    short = cut(model, KEPT)
    with masked(attention_layers(model), KEPT):
        expected = model(IDS).logits
    assert distance(model(IDS).logits, expected) > 0.1
    assert distance(short(IDS).logits, expected) < 1e-4
    found = short(IDS[:, :8], use_cache=True)
    rows = [found.logits]
    for i in range(8, 20):
        rows.append(short(IDS[:, i : i + 1], past_key_values=found.past_key_values, use_cache=True).logits)
    assert distance(torch.cat(rows, 1), expected) < 1e-4


@torch.inference_mode()
def test_batches_with_padding_and_generation():
    model = tiny("llama")
    short = cut(model, KEPT)
    both, mask = IDS.repeat(2, 1), torch.ones(2, 20, dtype=torch.long)
    mask[1, :6] = 0
    with masked(attention_layers(model), KEPT):
        expected = model(both, attention_mask=mask).logits
        written = model.generate(IDS, max_new_tokens=12, do_sample=False)
    assert distance(short(both, attention_mask=mask).logits[mask.bool()], expected[mask.bool()]) < 1e-4
    assert torch.equal(short.generate(IDS, max_new_tokens=12, do_sample=False), written)


@torch.inference_mode()
def test_with_all_heads_the_module_computes_what_transformers_does():
    model = tiny("llama")
    assert distance(cut(model, None)(IDS).logits, model(IDS).logits) < 1e-4


def test_projections_are_physically_smaller():
    short = cut(tiny("llama"), KEPT)
    first = short.model.layers[0].self_attn
    assert isinstance(first, GroupedAttention)
    assert first.kqv.weight.shape == ((6 + 2 * 4) * 16, 192) and first.o_proj.weight.shape == (192, 6 * 16)
    assert not list(short.model.layers[2].self_attn.parameters())


@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_one_row_of_bfloat16_takes_a_shorter_way_to_the_same_result(bias):
    linear = torch.nn.Linear(96, 160, bias=bias, dtype=torch.bfloat16)
    same = projection(linear.weight, linear.bias)
    for shape in ((1, 1, 96), (96,), (2, 3, 96)):
        rows = torch.randn(shape, dtype=torch.bfloat16)
        assert same(rows).shape == linear(rows).shape
        exact = torch.nn.functional.linear(rows.double(), linear.weight.double(), linear.bias.double() if bias else None)
        assert distance(same(rows).double(), exact) < 0.02
    with Counting() as counting:
        same(torch.randn(1, 1, 96, dtype=torch.bfloat16))
    assert not any("mm" in name for name in counting.names)


def planned(donor, tmp_path, *words):
    plan = tmp_path / "plan.json"
    shown = run("plan", donor, "--fraction", 0.4, "--layout", "ragged", "--engine", "torch", "--out", plan, "--force", *words)
    assert shown.exit_code == 0, shown.output
    return plan


@pytest.fixture
def donor(request, tmp_path):
    tiny(getattr(request, "param", "llama")).save_pretrained(tmp_path / "donor", max_shard_size="400KB")
    assert len(list((tmp_path / "donor").glob("*.safetensors"))) > 1
    return tmp_path / "donor"


@pytest.mark.parametrize("donor", ["llama", "smollm3"], indirect=True)
@torch.inference_mode()
def test_a_folder_is_planned_cut_proved_and_loaded_again(donor, tmp_path):
    plan = planned(donor, tmp_path, "--attention-free")
    shown = run("cut", donor, plan, "--out", tmp_path / "cut")
    assert shown.exit_code == 0 and "max |difference|" in shown.output, shown.output
    short = epi_surgery.load(tmp_path / "cut")
    model = AutoModelForCausalLM.from_pretrained(donor)
    layers = [LayerHeads(tuple(layer["query"]), tuple(layer["kv"])) for layer in json.loads(plan.read_text())["layers"]]
    with masked(attention_layers(model), layers):
        assert distance(short(IDS).logits, model(IDS).logits) < 1e-4
    kept = sum(parameter.numel() for parameter in short.parameters())
    norms = sum(192 for layer in layers if not layer.query)  # stays in memory, unused
    assert kept - norms == json.loads(plan.read_text())["shares"]["parameters"]["after"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "donor", "plan.json"]


def test_a_gguf_is_cut_for_pytorch(pico, tmp_path):
    path = pico(n_head=12, n_kv=4, head_dim=32, n_embd=384)
    plan = planned(path, tmp_path)
    shown = run("cut", path, plan, "--out", tmp_path / "cut", "--json", "--dtype", "float32")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["proof"]["max_abs_delta"] < 1e-4


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--engine", "llama.cpp"], "add --engine torch"), (["--scores", "none.json"], "no such file")],
)
def test_plans_that_cannot_be_are_refused(donor, tmp_path, words, said):
    result = run("plan", donor, "--fraction", 0.4, "--out", tmp_path / "p.json", *words)
    assert result.exit_code == 1 and said in result.output


def test_wrong_pairs_of_plan_and_model_are_refused(donor, pico, tmp_path):
    plan = planned(donor, tmp_path)
    other = run("cut", pico(), plan, "--out", tmp_path / "cut")
    assert other.exit_code == 1 and "another model" in other.output
    assert not (tmp_path / "cut").exists() and not list(tmp_path.glob(".*part"))
    with pytest.raises(SurgeryError, match="not a checkpoint"):
        epi_surgery.load(donor)


def test_a_damaged_checkpoint_is_a_sentence(donor, tmp_path):
    assert run("cut", donor, planned(donor, tmp_path), "--out", tmp_path / "cut", "--no-prove").exit_code == 0
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SurgeryError, match=r"damaged or missing.*cut the model again"):
        epi_surgery.load(tmp_path / "cut")


def test_a_full_disk_leaves_nothing(donor, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = planned(donor, tmp_path)
    monkeypatch.setattr("epi_surgery.torch_cut.execute.save", full)
    result = run("cut", donor, plan, "--out", tmp_path / "cut")
    assert result.exit_code == 1 and "the disk is full" in result.output and "nothing was left behind" in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["donor", "plan.json"]


class Counting(TorchDispatchMode):
    """Counts the operations that reach a kernel; views only rename memory."""

    def __init__(self):
        super().__init__()
        self.n, self.names = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += not (func.is_view or "detach" in str(func))
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operations_of_a_step(model):
    with torch.no_grad():
        cache = model(IDS, use_cache=True).past_key_values
        with Counting() as counting:
            model(IDS[:, :1], past_key_values=cache, use_cache=True)
    return counting.n


def test_a_ragged_step_issues_no_operation_more_than_an_unpruned_one():
    model = tiny("llama")
    three = [keep_any([0, 1, 2, 3, 4, 8], 12, 4)] * N_LAYER  # groups of 3, 2 and 1: one KV head is gone
    assert operations_of_a_step(cut(model, three)) == operations_of_a_step(cut(model, None))
    # Four or more unequal groups may need one gather in a layer, and never a scatter.
    odd = [keep_any([0, 3, 4, 5, 6, 9, 10, 11], 12, 4)] * N_LAYER
    assert operations_of_a_step(cut(model, odd)) <= operations_of_a_step(cut(model, None)) + N_LAYER
