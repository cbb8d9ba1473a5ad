"""Exports to distributed-llama, read back by a forward pass written from the format alone, against llama.cpp's logits."""

import struct

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.aim import Aim
from epi_surgery.cli import main
from epi_surgery.dllama.export import export_dllama
from epi_surgery.dllama.rotation import Scaling, factors
from epi_surgery.dllama.shape import node_shape
from epi_surgery.dllama.vocabulary import vocabulary_of
from epi_surgery.evaluate.engine import Limits, log_softmax
from epi_surgery.evaluate.llama_engine import LlamaEngine
from epi_surgery.evaluate.prefix_tree import grow
from epi_surgery.execute import execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.progress import bar

TOKENS = [5, 9, 7, 3, 250, 11, 40]


class Reference:
    """distributed-llama's arithmetic for one node, from its file format: interleaved rotation, heads paired by position."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, size = struct.unpack_from("<ii", data)
        assert magic == 0x0A00ABCD
        pairs = struct.unpack_from(f"<{(size - 8) // 4}i", data, 8)
        self.header = dict(zip(pairs[::2], pairs[1::2], strict=True))
        h = self.header
        self.dim, self.hidden, self.layers, self.heads, self.kv, self.vocab = (h[key] for key in (2, 3, 4, 5, 6, 9))
        self.width, self.q40 = h[19], h[13] == 2
        self.data, self.at = data, size
        self.embedding = self.take(self.vocab, self.dim, False)
        self.blocks = [self.block() for _ in range(self.layers)]
        self.norm = self.take(1, self.dim, False)[0]
        self.head = self.take(self.vocab, self.dim, self.q40)
        assert self.at == len(data)

    def block(self):
        q, kv, dim, hidden = self.heads * self.width, self.kv * self.width, self.dim, self.hidden
        shapes = [(q, dim), (kv, dim), (kv, dim), (dim, q), (hidden, dim), (dim, hidden), (hidden, dim)]
        return [self.take(*shape, self.q40) for shape in shapes] + [self.take(1, dim, False)[0] for _ in range(2)]

    def take(self, rows, columns, q40):
        count = rows * columns
        if not q40:
            found = np.frombuffer(self.data, "<f4", count, self.at)
            self.at += 4 * count
            return found.reshape(rows, columns)
        raw = np.frombuffer(self.data, np.uint8, count // 32 * 18, self.at).reshape(-1, 18)
        self.at += raw.size
        scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
        levels = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1).astype(np.float32) - 8
        return (scale * levels).reshape(rows, columns)

    def logits(self, tokens):
        x, n = self.embedding[tokens].astype(np.float64), len(tokens)
        for wq, wk, wv, wo, gate, down, up, before, after in self.blocks:
            y = self.normed(x) * before
            q, k, v = (self.split(y @ w.T) for w in (wq, wk, wv))
            q, k = self.turned(q), self.turned(k)
            group = self.heads // self.kv
            out = np.zeros((n, self.heads, self.width))
            for head in range(self.heads):
                scores = q[:, head] @ k[:, head // group].T / np.sqrt(self.width)
                scores[np.triu_indices(n, 1)] = -np.inf
                weights = np.exp(scores - scores.max(1, keepdims=True))
                out[:, head] = weights / weights.sum(1, keepdims=True) @ v[:, head // group]
            x = x + out.reshape(n, -1) @ wo.T
            y = self.normed(x) * after
            g = y @ gate.T
            x = x + (g / (1 + np.exp(-g)) * (y @ up.T)) @ down.T
        return (self.normed(x) * self.norm) @ self.head.T

    def normed(self, x):
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 10.0 ** -self.header[20])

    def split(self, x):
        return x.reshape(len(x), -1, self.width)

    def turned(self, x):
        angle = np.arange(len(x))[:, None] * self.header[12] ** -(np.arange(0, self.width, 2) / self.width)
        even, odd, cos, sin = x[..., ::2], x[..., 1::2], np.cos(angle)[:, None], np.sin(angle)[:, None]
        found = np.empty_like(x)
        found[..., ::2], found[..., 1::2] = even * cos - odd * sin, even * sin + odd * cos
        return found


def expected(path):
    engine = LlamaEngine(path, Limits(64, 4))
    try:
        tree = grow([TOKENS])
        return log_softmax(engine.logits(tree, tree.paths[0]))
    finally:
        engine.close()


def exported(path, out, weights="f32", nodes=1):
    with GgufFile(path) as model:
        return export_dllama(model, weights, nodes, out, bar), list(vocabulary_of(model).order)


def cut(path, out, aim):
    with GgufFile(path) as model:
        execute(model, make_plan(rank(model, Ranking("random"), None, bar), aim, 64), out, False, None, bar)
    return out


CASES = {
    "as it is": (None, 1, (8, 4)),
    "uniform groups": (Aim(0.25, "groups", "uniform"), 1, (6, 3)),
    "zero groups for two nodes": (Aim(0.25, "groups", "uniform"), 2, (8, 4)),
    "layers that differ": (Aim(0.4, "ragged"), 2, None),
    "a layer without attention": (Aim(0.6, "groups", attention_free=True, protected=(0,)), 1, None),
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("aim", "nodes", "counts"), CASES.values(), ids=CASES.keys())
def test_the_file_computes_what_the_gguf_does(pico, tmp_path, aim, nodes, counts):
    path = pico() if aim is None else cut(pico(), tmp_path / "cut.gguf", aim)
    made, order = exported(path, tmp_path / "model.m", nodes=nodes)
    model = Reference(tmp_path / "model.m")
    assert model.heads % model.kv == 0 and model.kv % nodes == 0
    assert counts is None or (made.n_head, made.n_kv) == counts
    place = {old: new for new, old in enumerate(order)}
    found = log_softmax(model.logits([place[token] for token in TOKENS]))
    # llama.cpp caches keys and values in F16.
    np.testing.assert_allclose(found[:, [place[i] for i in range(300)]], expected(path), atol=0.03)


@pytest.mark.usefixtures("engine")
def test_q40_is_the_nearest_of_sixteen_levels(pico, tmp_path):
    exported(pico(), tmp_path / "f.m")
    exported(pico(), tmp_path / "q.m", "q40")
    exact, coarse = Reference(tmp_path / "f.m"), Reference(tmp_path / "q.m")
    for one, other in zip(exact.blocks, coarse.blocks, strict=True):
        for a, b in zip(one[:7], other[:7], strict=True):
            blocks, wrong = a.reshape(-1, 32), np.abs(a - b).reshape(-1, 32)
            assert (wrong <= np.abs(blocks).max(1, keepdims=True) / 7).all()


def test_special_tokens_come_last_and_bos_is_the_first_of_them(smollm2, tmp_path):
    with GgufFile(smollm2) as model:
        found = vocabulary_of(model)
    assert sorted(found.order) == list(range(49152)) and found.first_special == 49152 - 17
    assert found.tokens[found.first_special] == b"<|endoftext|>" and found.tokens[0] != b"<|endoftext|>"
    assert b" the" in found.tokens[:1000] and found.tokens[found.eos[0]] == b"<|im_end|>" and not found.adds_bos


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 6), st.booleans())
def test_any_heads_get_a_shape_that_every_node_can_share(sizes, n_kv, nodes, uniform):
    n_head = [size * n_kv for size in (sizes[:1] * len(sizes) if uniform else sizes)]
    shape = node_shape(n_head, [n_kv] * len(n_head), nodes)
    assert shape.n_kv % nodes == 0 and shape.n_head % shape.n_kv == 0
    group = shape.n_head // shape.n_kv
    for layer, heads in enumerate(n_head):
        assert [head for head in shape.query[layer] if head is not None] == list(range(heads))
        for place, head in enumerate(shape.query[layer]):
            assert head is None or shape.kv[layer][place // group] == head // (heads // n_kv)


def test_llama_3s_factors_are_those_of_its_reference():
    # Wavelengths beyond 8192 are divided by 32, below 2048 untouched (Llama 3.2 1B: theta 500,000, width 64).
    found = factors(Scaling(32), 500000.0, 64)
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(0, 64, 2) / 64)
    assert np.allclose(found[wavelengths > 8192], 32) and np.allclose(found[wavelengths < 2048], 1)
    assert ((found > 1) & (found < 32)).any()


@pytest.mark.parametrize(
    ("shape", "words", "said"),
    [
        ({"bias": True}, [], "knows no biases"),
        ({"arch": "qwen3", "qk_norm": True}, [], "'qwen3' cannot be exported"),
        ({"n_ff": 96}, ["--nodes", "2", "--dllama", "q40"], "feed-forward width of 96 on 2 nodes"),
        ({"n_ff": 560}, ["--nodes", "7"], "cannot be shared by 7 nodes"),
        ({}, ["--quantize", "F16"], "either --quantize MIX or --dllama"),
    ],
)
def test_what_the_engine_would_abort_on_is_refused(pico, tmp_path, shape, words, said):
    path = pico(**shape)
    result = CliRunner().invoke(main, ["export", str(path), "--out", str(tmp_path / "x.m"), "--dllama", "f32", *words])
    assert result.exit_code == 1 and said in result.output and result.output.count("\n") == 1, result.output
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_command_says_what_it_filled_up(pico, tmp_path):
    words = ["export", str(pico(n_head=6, n_kv=3)), "--dllama", "f32", "--nodes", "2", "--out", str(tmp_path / "x.m")]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0 and "1 KV groups of zeros in each layer, for 2 nodes" in shown.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pico.gguf", "x.m", "x.t"]
