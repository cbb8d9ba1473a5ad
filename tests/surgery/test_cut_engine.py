"""Cuts through the real engine: equal to the masked original, with a control, and no engine abort reaches the caller."""

import gguf
import numpy as np
import pytest

from epi_surgery.aim import Aim
from epi_surgery.architecture import architecture_of
from epi_surgery.cut import cut_entries, cut_recipes, masked_recipes
from epi_surgery.engine import run_models
from epi_surgery.errors import BadPlan, ProofFailed
from epi_surgery.execute import execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gguf_write import write_gguf
from epi_surgery.gqa import LayerHeads, all_heads, keep
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.metadata import int32_array
from epi_surgery.progress import bar
from epi_surgery.prove import prove
from epi_surgery.stored import StoredLayer

pytestmark = pytest.mark.usefixtures("engine")
Q = gguf.GGMLQuantizationType


def cut(path, out, aim, with_proof=True):
    with GgufFile(path) as model:
        plan = make_plan(rank(model, Ranking(), None, bar), aim, 64)
        return plan, execute(model, plan, out, with_proof, None, bar)


def write(path, entries, recipes):
    with path.open("wb") as file:
        write_gguf(file.write, entries, recipes, 32)
    return path


BALANCED, GROUPS = Aim(0.34, "balanced"), Aim(0.34, "groups")
CASES = {
    "groups uniform": (Aim(0.25, "groups", "uniform"), {}, "llama"),
    "balanced uniform": (Aim(0.5, "balanced", "uniform"), {}, "llama"),
    "groups per layer": (GROUPS, {}, "deci"),
    "balanced per layer": (Aim(0.34, "balanced", protected=(0,)), {}, "deci"),
    "untied head": (GROUPS, {"tied": False}, "deci"),
    "bias, llama": (GROUPS, {"bias": True}, "deci"),
    "ragged, padded": (Aim(0.3, "ragged"), {"n_head": 12, "n_kv": 4, "head_dim": 64}, None),
    "ragged, narrow heads": (Aim(0.4, "ragged"), {"n_head": 12, "n_kv": 4}, None),
    "ragged with biases": (Aim(0.4, "ragged"), {"n_head": 12, "n_kv": 3, "head_dim": 64, "bias": True}, None),
    "layers without attention": (Aim(0.7, "groups", attention_free=True, protected=(0,)), {"n_kv": 2}, "deci"),
    "the first layer without attention": (Aim(0.9, "groups", "global", "early", (), True), {"n_kv": 1}, "deci"),
    "auto": (Aim(0.4, "auto"), {"n_head": 12, "n_kv": 4, "head_dim": 64}, None),
    "qwen3 with q/k norms": (Aim(0.5, "groups", "uniform"), {"arch": "qwen3", "qk_norm": True}, "qwen3"),
    **{f"{kind.name}": (GROUPS, {"kind": kind}, "deci") for kind in (Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0)},
}


@pytest.mark.parametrize(("aim", "shape", "arch"), CASES.values(), ids=CASES.keys())
def test_cut_equals_masked(pico, tmp_path, aim, shape, arch):
    path = pico(**shape)
    _, result = cut(path, tmp_path / "cut.gguf", aim)
    assert arch is None or result.architecture == arch
    assert result.proof is not None and result.proof.max_abs_delta <= 1e-4
    assert result.proof.control_max_abs_delta > 0.1
    assert not result.requantised
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.gguf", path.name]


@pytest.mark.parametrize("aim", [Aim(0.34, "groups"), Aim(0.5, "balanced", "uniform")], ids=["deci", "llama"])
def test_the_heads_that_went_are_those_of_the_plan(pico, tmp_path, aim):
    path = pico(head_dim=64)
    plan, _ = cut(path, tmp_path / "cut.gguf", aim, with_proof=False)
    before = {t.name: t.data.reshape(t.shape[::-1]) for t in gguf.GGUFReader(path).tensors}
    after = {t.name: t.data.reshape(t.shape[::-1]) for t in gguf.GGUFReader(tmp_path / "cut.gguf").tensors}
    assert before.keys() == after.keys()
    for layer, heads in enumerate(plan.layers):
        q = before.pop(f"blk.{layer}.attn_q.weight").reshape(8, 64, 256)
        np.testing.assert_array_equal(after[f"blk.{layer}.attn_q.weight"], q[list(heads.query)].reshape(-1, 256))
        for part in ("k", "v"):
            kv = before.pop(f"blk.{layer}.attn_{part}.weight").reshape(4, 64, 256)
            np.testing.assert_array_equal(after[f"blk.{layer}.attn_{part}.weight"], kv[list(heads.kv)].reshape(-1, 256))
        o = before.pop(f"blk.{layer}.attn_output.weight").reshape(256, 8, 64)
        np.testing.assert_array_equal(after[f"blk.{layer}.attn_output.weight"], o[:, list(heads.query)].reshape(256, -1))
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


def test_a_cut_can_be_cut_again(pico, tmp_path):
    cut(pico(), tmp_path / "one.gguf", GROUPS)
    _, again = cut(tmp_path / "one.gguf", tmp_path / "two.gguf", Aim(0.2, "groups"))
    assert again.architecture == "deci" and again.proof is not None


def test_provenance_is_in_the_file(pico, tmp_path):
    plan, _ = cut(pico(), tmp_path / "cut.gguf", GROUPS, with_proof=False)
    with GgufFile(tmp_path / "cut.gguf") as model:
        assert model.text("epi.parent_sha256") == plan.model.sha256
        assert len(model.text("epi.plan_sha256")) == 64


def test_the_proof_fails_for_a_twin_with_other_heads(pico_once, tmp_path):
    with GgufFile(pico_once) as model:
        arch = architecture_of(model)
        kept = [keep([0, 1, 2, 3], 8, 4), *[all_heads(8, 4)] * 2]
        other = [keep([0, 1, 2, 3, 4, 5], 8, 4), *[all_heads(8, 4)] * 2]
        pruned = write(tmp_path / "cut.gguf", cut_entries(model, arch, kept), cut_recipes(model, arch, kept))
        twin = write(tmp_path / "twin.gguf", list(model.entries.values()), masked_recipes(model, arch, other))
        with pytest.raises(ProofFailed, match="does not compute what the masked original does"):
            prove(twin, pruned, pico_once)


def test_a_proof_without_power_is_refused(pico_once):
    with pytest.raises(ProofFailed, match="no power"):
        prove(pico_once, pico_once, pico_once)


def test_an_abort_inside_the_engine_is_a_sentence(pico_once, tmp_path):
    # Seven query heads on three KV heads: the loader accepts it and an assertion kills the process later.
    with GgufFile(pico_once) as model:
        arch = architecture_of(model)
        kept = [LayerHeads((0, 1, 2, 3, 4, 5, 6), (0, 1, 2)), *[all_heads(8, 4)] * 2]
        with pytest.raises(BadPlan, match="layer 0"):
            cut_recipes(model, arch, kept)
        fit = [keep([0, 1, 2, 3, 4, 5], 8, 4), *[all_heads(8, 4)] * 2]
        entries = [
            int32_array(entry.key, [7, 8, 8]) if entry.key == "deci.attention.head_count" else entry
            for entry in cut_entries(model, arch, fit)
        ]
        recipes = cut_recipes(model, arch, fit)
        wide = StoredLayer((0, 1, 2, 3, 4, 5, 6), (0, 1, 2))
        recipes = [_with_seven(model, arch, recipe, wide) for recipe in recipes]
        broken = write(tmp_path / "broken.gguf", entries, recipes)
    with pytest.raises(ProofFailed, match=r"^the odd one: llama.cpp was ended by SIGABRT: .*GGML_ASSERT"):
        run_models({"the original": pico_once, "the odd one": broken}, 4, 1)


def _with_seven(model, arch, recipe, wide):
    from epi_surgery import cut as cutting

    if recipe.name in ("blk.0.attn_q.weight", "blk.0.attn_output.weight"):
        return cutting._cut(model, arch, [wide] * 3, model.tensors[recipe.name])
    return recipe


def test_a_model_the_engine_cannot_load_is_named(pico_once, tmp_path):
    (tmp_path / "junk.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(ProofFailed, match=r"^the junk: llama\.cpp refused the model"):
        run_models({"the junk": tmp_path / "junk.gguf"}, 4, 1)


def test_counts_that_differ_need_an_architecture_that_can_say_so(pico, tmp_path):
    with pytest.raises(BadPlan, match="only for architecture llama, not qwen3"):
        cut(pico(arch="qwen3", qk_norm=True), tmp_path / "cut.gguf", GROUPS)


def test_the_135m_model(smollm2, tmp_path):
    plan, result = cut(smollm2, tmp_path / "cut.gguf", Aim(0.33, "groups", "uniform"))
    assert (plan.shares.query_heads.after, plan.shares.kv_heads.after) == (180, 60)
    # Per layer 3 of 9 query and 1 of 3 KV heads: (3 + 1 + 1 + 3) * 64 * 576 parameters.
    assert plan.shares.parameters.before - plan.shares.parameters.after == 30 * 8 * 64 * 576
    assert result.architecture == "llama" and not result.requantised
    assert result.proof is not None and result.proof.max_abs_delta <= 1e-4 and result.proof.control_max_abs_delta > 1
