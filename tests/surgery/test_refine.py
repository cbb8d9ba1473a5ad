"""Exchanging heads: the search against costs that are known, its measurements against models cut by hand, the command."""

import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epi_surgery.aim import Aim
from epi_surgery.choose import choose
from epi_surgery.gqa import all_heads, heads_of, keep, keep_any
from epi_surgery.model import gated, load
from epi_surgery.model.loss import mean_loss
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.plan_file import read_plan
from epi_surgery.progress import bar
from epi_surgery.refine.company import Company
from epi_surgery.refine.exchange import Effort, Search, Unit, units_of
from fakes.pico_folder import write_folder
from fakes.surgery_command import refused, run

N_HEAD, N_KV = (6, 6, 6, 6), (2, 2, 2, 2)
WINDOWS = torch.randint(0, 250, (3, 20), generator=torch.Generator().manual_seed(7))


class Known:
    """Costs that add up, head by head, and for some pairs more than that; guesses that are off by a little."""

    def __init__(self, seed, interaction=0.0, noise=0.0):
        source = random.Random(seed)
        self.worth = [[source.random() for _ in range(n)] for n in N_HEAD]
        heads = [(layer, head) for layer, n in enumerate(N_HEAD) for head in range(n)]
        self.pairs = [(*source.sample(heads, 2), interaction * source.uniform(-1, 1)) for _ in range(40)]
        self.errors = {head: noise * source.uniform(-1, 1) for head in heads}
        self.n_asked = 0

    def loss(self, kept):
        self.n_asked += 1
        gone = {(i, h) for i, layer in enumerate(kept) for h in range(N_HEAD[i]) if h not in layer.query}
        return sum(self.worth[i][h] for i, h in gone) + sum(more for a, b, more in self.pairs if {a, b} <= gone)

    def promises(self, kept, units):
        return [sum(self.worth[u.layer][h] + self.errors[u.layer, h] for h in u.heads) for u in units]

    def flipped(self, kept, units):
        found = []
        for unit in units:
            changed = [set(layer.query) for layer in kept]
            changed[unit.layer] ^= set(unit.heads)
            found.append(self.loss([keep_any(query, 6, 2) for query in changed]))
        return found


def search(judge, aim, effort, seed=0):
    source = random.Random(seed)
    start = choose([[source.random() for _ in range(n)] for n in N_HEAD], N_HEAD, N_KV, aim)
    found = Search(judge, N_HEAD, units_of(aim, N_HEAD, N_KV), lambda s: choose(s, N_HEAD, N_KV, aim), effort).run(start)
    return start, found


def n_removed(kept):
    return sum(n - len(layer.query) for n, layer in zip(N_HEAD, kept, strict=True))


layouts = st.sampled_from(["ragged", "groups", "balanced", "auto"])


@given(st.integers(0, 10**6), layouts, st.sampled_from([0.25, 0.34, 0.5]))
def test_a_search_never_makes_it_dearer_and_keeps_size_and_layout(seed, layout, fraction):
    judge, aim = Known(seed, interaction=0.5, noise=0.3), Aim(fraction, layout)
    start, found = search(judge, aim, Effort(3, 8), seed)
    assert judge.loss(found.kept) <= judge.loss(start) == found.before
    assert n_removed(found.kept) == n_removed(start)
    for layer in found.kept:
        assert layer == (keep_any if layout == "ragged" else keep)(layer.query, 6, 2)
        assert layout != "groups" or len(layer.query) == 3 * len(layer.kv)
    losses = [found.before, *(one.loss for one in found.rounds)]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == len(losses)
    assert judge.loss(found.kept) == pytest.approx(losses[-1])


@given(st.integers(0, 10**6), st.sampled_from(["ragged", "groups"]))
def test_where_costs_add_up_the_best_cut_is_found(seed, layout):
    judge, aim = Known(seed), Aim(0.34, layout)
    _, found = search(judge, aim, Effort(20, 100), seed)
    best = choose(judge.worth, N_HEAD, N_KV, aim)
    # A layer keeps at least one unit, which single exchanges may have to go around.
    assert judge.loss(found.kept) == pytest.approx(judge.loss(best)) or any(len(layer.kv) == 1 for layer in best)


def test_protected_and_untargeted_layers_are_left_alone():
    aim = Aim(0.34, "ragged", target="early", protected=(1,))
    assert {unit.layer for unit in units_of(aim, (6,) * 8, (2,) * 8)} == {0}
    assert units_of(Aim(0.5, "groups"), (4, 0), (2, 0)) == [Unit(0, (0, 1)), Unit(0, (2, 3))]


def test_effort_bounds_what_is_measured():
    judge = Known(3, interaction=0.5)
    search(judge, Aim(0.34, "ragged"), Effort(1, 4))
    assert judge.n_asked <= 1 + 4 + 2 + 2


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def loaded(request, tmp_path_factory):
    return load(write_folder(tmp_path_factory.mktemp("refine") / "m", request.param))


KEPT = (keep([0, 1, 3, 4], 6, 2), all_heads(6, 2), keep([3, 4, 5], 6, 2))


def loss_without(loaded, gone):
    """The loss of a model whose output projections have no columns for these heads."""
    before = [layer.o.weight.data.clone() for layer in loaded.layers]
    for index, head in gone:
        loaded.layers[index].o.weight.data[:, head * 16 : head * 16 + 16] = 0
    try:
        return mean_loss(loaded, WINDOWS)
    finally:
        for layer, weight in zip(loaded.layers, before, strict=True):
            layer.o.weight.data.copy_(weight)


def test_losses_are_those_of_models_without_these_heads(loaded):
    company = Company(loaded, WINDOWS, bar)
    gone = {(0, 2), (0, 5), (2, 0), (2, 1), (2, 2)}
    assert company.loss(KEPT) == pytest.approx(loss_without(loaded, gone), abs=1e-5)
    # In no order, twice in one layer, one gone and one that stays, one group.
    units = [Unit(2, (0, 1, 2)), Unit(0, (2,)), Unit(1, (4,)), Unit(0, (0,))]
    expected = [loss_without(loaded, gone ^ {(unit.layer, head) for head in unit.heads}) for unit in units]
    assert company.flipped(KEPT, units) == pytest.approx(expected, abs=1e-5)


def test_promises_are_slopes_and_curvatures_of_gates(loaded):
    """Against finite differences: the slope for units that are gone, and on top half the Fisher information for the others."""
    units = [Unit(2, (0, 1, 2)), Unit(0, (2,)), Unit(1, (4,)), Unit(1, (3, 4, 5))]
    found = Company(loaded, WINDOWS, bar).promises(KEPT, units)
    n_predicted = WINDOWS[:, 1:].numel()
    for unit, promise in zip(units, found, strict=True):
        slopes = [slope_by_difference(loaded, unit, window[None]) for window in WINDOWS]
        expected = -sum(slopes) / n_predicted
        if unit.layer == 1:
            expected += sum(slope**2 for slope in slopes) / n_predicted / 2
        assert promise == pytest.approx(expected, rel=0.02, abs=1e-3)


@torch.no_grad()
def slope_by_difference(loaded, unit, window, step=0.02):
    sums = []
    for sign in (1, -1):
        gates = [torch.tensor([float(head in layer.query) for head in range(6)]) for layer in KEPT]
        gates[unit.layer][list(unit.heads)] += sign * step
        with gated(loaded.layers, gates):
            sums.append(float(token_losses(logits(loaded, window), window).double().sum()))
    return (sums[0] - sums[1]) / (2 * step)


SIZES = ("--tokens", 320, "--window", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("command") / "m", num_hidden_layers=6)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, 1234 times. " * 40)
    return path


def planned(folder, tmp_path, *words):
    out = tmp_path / "plan.json"
    options = ("--fraction", 0.34, "--criterion", "random", "--engine", "torch", *words)
    result = run("plan", folder, *options, "--out", out, "--force")
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("layout", ["ragged", "groups"])
def test_a_plan_gets_better_and_stays_what_it_was(folder, text, tmp_path, layout):
    plan, out = planned(folder, tmp_path, "--layout", layout), tmp_path / "better.json"
    result = run("refine", folder, plan, "--text", text, *SIZES, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    body = json.loads(result.output)
    assert body["rounds"][-1]["loss"] < body["loss_before"]
    assert (body["tokens"], body["judged_on"]) == (256, 64)
    before, after = read_plan(plan), read_plan(out)
    assert after.layers != before.layers and after.shares.query_heads == before.shares.query_heads
    assert (after.aim, after.model, after.engine) == (before.aim, before.model, before.engine)
    assert after.criterion == "random, seed 0, refined by the loss on 256 tokens (seed 0)"
    if layout == "groups":
        assert all(heads_of(kv, 6, 2)[0] in layer.query for layer in after.layers for kv in layer.kv)
    words = ("cut", folder, out, "--out", tmp_path / "cut")
    assert run(*words).exit_code == 0


def test_what_cannot_be_refined_is_refused(folder, text, tmp_path, pico):
    plan, out = planned(folder, tmp_path, "--layout", "ragged"), tmp_path / "better.json"
    words = ("--text", text, *SIZES, "--out", out)
    other = write_folder(tmp_path / "other", seed=3)
    refused(run("refine", other, plan, *words), "made for another model")
    refused(run("refine", folder, plan, "--text", text, "--tokens", 16, "--window", 16, "--out", out), "too few to decide")
    refused(run("refine", folder, tmp_path / "none.json", *words), "no such file")
    refused(run("refine", folder, plan, *words[:-1], plan), "already exists")
    assert not out.exists()
    for _ in range(8):
        result = run("refine", folder, plan, *words, "--force")
        if result.exit_code:
            break
        plan.write_bytes(out.read_bytes())
    refused(result, "no exchange of heads lowers the loss")
    assert out.read_bytes() == plan.read_bytes()
