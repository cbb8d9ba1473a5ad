"""Norms per head against plain numpy on the weights that the reference package decodes."""

import gguf
import numpy as np
import pytest

from epi_surgery.architecture import architecture_of
from epi_surgery.gguf_file import GgufFile
from epi_surgery.norms import norm_scores, slice_norms
from epi_surgery.scores import score_heads

Q = gguf.GGMLQuantizationType


def weights(path):
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", [Q.F32, Q.Q4_1, Q.Q8_0], ids=lambda kind: kind.name)
def test_slice_norms(pico, order, kind):
    path = pico(kind=kind, n_head=6, n_kv=2, head_dim=64)
    values = weights(path)
    with GgufFile(path) as model:
        found = slice_norms(model, architecture_of(model), 1, order)
    for head in range(6):
        own, shared = slice(head * 64, head * 64 + 64), slice(head // 3 * 64, head // 3 * 64 + 64)
        expected = [
            np.linalg.norm(values["blk.1.attn_q.weight"][own].ravel(), order),
            np.linalg.norm(values["blk.1.attn_k.weight"][shared].ravel(), order),
            np.linalg.norm(values["blk.1.attn_v.weight"][shared].ravel(), order),
            np.linalg.norm(values["blk.1.attn_output.weight"][:, own].ravel(), order),
        ]
        np.testing.assert_allclose(found[:, head], expected, rtol=1e-5)


def test_relative_scores_are_the_same_when_a_layer_is_scaled(pico, tmp_path):
    with GgufFile(pico()) as model:
        arch = architecture_of(model)
        relative = norm_scores(model, arch, 2, True, lambda _: None)
        raw = norm_scores(model, arch, 2, False, lambda _: None)
    np.testing.assert_allclose(np.mean(relative, axis=1), 4.0)
    assert np.std(np.mean(raw, axis=1)) > 0
    for layer in range(3):
        assert np.argsort(relative[layer])[0] in np.argsort(raw[layer])[:4]


def test_random_is_the_same_for_the_same_seed(pico_once):
    with GgufFile(pico_once) as model:
        arch = architecture_of(model)
        one, again, other = (score_heads(model, arch, "random", True, seed, lambda _: None) for seed in (1, 1, 2))
    assert one == again != other
    assert one[0] == "random, seed 1"
