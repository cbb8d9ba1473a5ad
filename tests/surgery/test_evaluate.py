"""Evaluation: the tree of prefixes computes what each sentence alone would, on both engines; shares, intervals and the record."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.accuracy import judge
from epi_surgery.evaluate.blimp import MinimalPair, read_blimp, tally
from epi_surgery.evaluate.coherence import coherence, greedy, repeated_share, verdict
from epi_surgery.evaluate.engine import Limits, log_softmax
from epi_surgery.evaluate.interval import mean_interval, wilson
from epi_surgery.evaluate.llama_engine import LlamaEngine
from epi_surgery.evaluate.perplexity import Windows, divergence, perplexity
from epi_surgery.evaluate.prefix_tree import ROOT, grow, pack
from fakes.surgery_command import run

sentences = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=12)


@given(sentences)
def test_every_path_spells_its_sentence_and_no_prefix_stands_twice(sequences):
    tree = grow(sequences)
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert [tree.tokens[node] for node in path] == sequence
        assert [tree.parents[node] for node in path] == [ROOT, *path[:-1]]
        assert [tree.depths[node] for node in path] == list(range(len(path)))
    assert len(tree.tokens) == len({tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)})
    assert all(parent < node for node, parent in enumerate(tree.parents))


@given(st.lists(sentences, min_size=1, max_size=6), st.integers(1, 30), st.integers(1, 20))
def test_packs_cover_all_groups_in_order_within_the_limits(groups, max_nodes, max_sequences):
    packs = list(pack(groups, max_nodes, max_sequences))
    assert [group for members, _ in packs for group in members] == list(range(len(groups)))
    for members, tree in packs:
        assert len(tree.paths) == sum(len(groups[group]) for group in members)
        assert len(members) == 1 or (len(tree.tokens) <= max_nodes and len(tree.paths) <= max_sequences)


@given(st.integers(0, 400), st.integers(0, 400))
def test_wilson_bounds_solve_the_score_equation(correct, wrong):
    n = correct + wrong
    low, high = wilson(correct, n)
    assert 0 <= low <= high <= 1
    for bound in (low, high):
        if n and 0 < bound < 1:  # |share - bound| is 1.96 standard errors of the bound
            assert abs(abs(correct / n - bound) - 1.959964 * np.sqrt(bound * (1 - bound) / n)) < 1e-9
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_mean_of_equal_windows_is_certain_and_of_one_is_not():
    assert mean_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert mean_interval([1.0])[1] == float("inf")
    low, high = mean_interval([1.0, 3.0])
    assert abs((high - low) / 2 - 12.706) < 1e-6  # one degree of freedom


TOKENS = [[5, 9, 7, 3], [5, 9, 8, 3], [5, 4], [6, 9, 7], [5, 9, 7, 3, 11]]


def alone(engine, sequence):
    tree = grow([sequence])
    return log_softmax(engine.logits(tree, tree.paths[0]))


def check_tree_against_each_alone(engine):
    tree = grow(TOKENS)
    for sequence, path in zip(TOKENS, tree.paths, strict=True):
        expected = [alone(engine, sequence)[i - 1, sequence[i]] for i in range(1, len(sequence))]
        np.testing.assert_allclose(engine.log_probs(tree, path[1:]), expected, atol=2e-3)


@pytest.fixture(scope="module")
def llama(pico_once):
    pytest.importorskip("llama_cpp")
    engine = LlamaEngine(pico_once, Limits(64, 8))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def in_torch(pico_once):
    pytest.importorskip("torch")
    from epi_surgery.evaluate.torch_engine import TorchEngine
    from epi_surgery.model import load

    return TorchEngine(load(pico_once).model, SimpleNamespace(bos_token_id=1), Limits())


def test_a_tree_computes_what_each_sentence_alone_does(llama, in_torch):
    check_tree_against_each_alone(llama)
    check_tree_against_each_alone(in_torch)


def test_both_engines_agree(llama, in_torch):
    tree = grow(TOKENS)
    nodes = [node for path in tree.paths for node in path[1:]]
    # llama.cpp caches keys and values in F16.
    np.testing.assert_allclose(llama.log_probs(tree, nodes), in_torch.log_probs(tree, nodes), atol=0.02)


class Bigram:
    """An engine whose answer is known: ln p(token | parent) from a table."""

    name, bos, limits = "bigram", 0, Limits(20, 6)

    def __init__(self, seed=0):
        self.table = log_softmax(np.random.default_rng(seed).standard_normal((40, 40)).astype(np.float32) * 2)

    def tokenize(self, texts):
        return [[ord(letter) - ord("a") + 1 for letter in text] for text in texts]

    def text_of(self, tokens):
        return "".join(chr(ord("a") + token - 1) if 0 < token < 27 else "?" for token in tokens)

    def log_probs(self, tree, nodes):
        assert all(tree.parents[node] != ROOT for node in nodes)
        return np.array([self.table[tree.tokens[tree.parents[n]], tree.tokens[n]] for n in nodes], dtype=np.float32)

    def logits(self, tree, nodes):
        return self.table[[tree.tokens[node] for node in nodes]]

    def close(self):
        pass


words = st.text("abcdefgh", min_size=1, max_size=6)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=15), st.booleans())
def test_a_pair_is_judged_by_its_whole_probability(texts, bos):
    engine = Bigram()
    pairs = [MinimalPair("t", "c", *text) for text in texts]

    def whole(text):
        tokens = [0] * bos + engine.tokenize([text])[0]
        return sum(float(engine.table[a, b]) for a, b in itertools.pairwise(tokens))

    for (good, bad), found in zip(texts, judge(engine, pairs, bos, lambda _: None), strict=True):
        if abs(whole(good) - whole(bad)) > 1e-4 and (bos or good[0] == bad[0]):
            assert found == (whole(good) > whole(bad))


def test_perplexity_and_divergence_by_hand():
    engine, other = Bigram(), Bigram(1)
    windows = Windows(((1, 2, 3), (4, 5, 6)), 1)
    steps = [(1, 2), (2, 3), (4, 5), (5, 6)]
    found = perplexity(engine, windows, lambda _: None)
    assert found.tokens == 4 and np.isclose(found.value, np.exp(-np.mean([engine.table[a, b] for a, b in steps])), rtol=1e-5)
    p, q = (np.stack([e.table[a] for a, _ in steps]).astype(float) for e in (engine, other))
    assert np.isclose(divergence(engine, other, windows, lambda _: None).value, (np.exp(p) * (p - q)).sum(1).mean(), rtol=1e-4)
    assert abs(divergence(engine, engine, windows, lambda _: None).value) < 1e-6


def test_repetition():
    assert repeated_share([1, 2, 3, 4, 5, 6]) == 0 and repeated_share([1, 2] * 50) > 0.9 and repeated_share([1]) == 0


def test_greedy_follows_the_likeliest_and_a_loop_is_called_one():
    engine = Bigram()
    first = int(engine.table[7].argmax())
    assert greedy(engine, [3, 7], 2) == [first, int(engine.table[first].argmax())]
    # A bigram model knows only the last token, so its greedy text soon goes round in circles.
    engine.tokenize = lambda texts: [[7]] * len(texts)
    found = coherence(engine, None, 200)
    assert found.verdict == "repetitive" and found.repeated > 0.6 and len(found.continuations) == 4
    assert verdict(0.1, 9.0) == "broken" and verdict(0.1, 1.2) == verdict(0.1, None) == "coherent"


def pair_line(good, bad, term):
    return json.dumps({"sentence_good": good, "sentence_bad": bad, "linguistics_term": term}) + "\n"


@pytest.fixture
def blimp(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "one.jsonl").write_text(pair_line("w1 w2", "w1 w3", "binding") * 3)
    (folder / "two.jsonl").write_text(pair_line("w4 w5", "w4 w6 w7", "s-selection") * 2)
    return folder


def test_files_are_tests_and_selection_counts_as_argument_structure(blimp):
    pairs = read_blimp(blimp, 2)
    assert [(p.test, p.category) for p in pairs] == [("one", "binding")] * 2 + [("two", "argument_structure")] * 2
    assert {name: (t.correct, t.n) for name, t in tally([p.test for p in pairs], [True, False, True, True]).items()} == {
        "one": (1, 2),
        "two": (2, 2),
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"sentence_good": "a", "sentence_bad": ""}'])
def test_a_file_that_is_not_blimp_is_named_with_its_line(blimp, text):
    (blimp / "two.jsonl").write_text("\n" + text + "\n")
    with pytest.raises(SurgeryError, match=r"two\.jsonl, line 2: "):
        read_blimp(blimp)


@pytest.mark.usefixtures("engine")
def test_the_command_writes_the_record_beside_the_model(pico, blimp, tmp_path):
    model, text = pico(), tmp_path / "text.txt"
    text.write_text("the words of a text " * 20)
    shown = run("eval", model, "--blimp", blimp, "--text", text, "--window", 16, "--baseline", model, "--coherence")
    assert shown.exit_code == 0, shown.output
    body = json.loads((tmp_path / "pico.gguf.eval.json").read_text())
    assert (body["format"], body["version"], body["bos"]) == ("epi-surgery eval", 1, False)
    assert body["accuracy"]["n"] == 5 and body["accuracy"]["categories"].keys() == {"argument_structure", "binding"}
    assert body["kl"]["value"] == 0 and body["perplexity"]["interval"][0] < body["perplexity"]["value"]
    assert body["model"]["file"] == "pico.gguf" and len(body["model"]["sha256"]) == 64
    assert body["coherence"]["verdict"] in ("coherent", "repetitive") and len(body["coherence"]["continuations"]) == 4
    assert "no BOS" in shown.output and "pairs/s" in shown.output


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to evaluate on"),
        (["--blimp", "nowhere"], "no such folder"),
        (["--text", "short.txt"], "too few for two windows"),
        (["--text", "latin.txt"], "not UTF-8 text"),
        (["--baseline", "pico.gguf", "--blimp", "."], "give --text"),
    ],
)
def test_refusals(pico, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    model = pico()
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    result = run("eval", model, *words)
    assert result.exit_code == 1 and said in result.output and not list(tmp_path.glob("*.eval.json"))


@pytest.mark.usefixtures("engine")
def test_a_model_the_engine_refuses_is_a_sentence(pico, tmp_path):
    path = pico()
    data = path.read_bytes().replace(b"llama.block_count", b"llama.block_counT")
    path.write_bytes(data)
    result = run("eval", path, "--text", tmp_path / "pico.gguf")
    assert result.exit_code == 1 and "llama.cpp refused the model" in result.output
