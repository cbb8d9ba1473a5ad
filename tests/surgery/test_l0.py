"""Trainable gates: the distribution they are drawn from, and that training finds heads which do nothing."""

import pytest
import torch

from epi_surgery.model import load
from epi_surgery.rank.l0 import Training, draw_gates, expected_open, gate_scores
from fakes.pico_folder import write_folder

WINDOWS = torch.randint(0, 250, (8, 16), generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("log_a", [-2.0, 0.0, 0.5, 2.0])
def test_the_expected_number_is_how_often_gates_are_open(log_a):
    drawn = draw_gates(torch.full((40_000,), log_a), torch.Generator().manual_seed(1))
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn > 0).double().mean().item() == pytest.approx(expected_open(torch.tensor(log_a)).item(), abs=0.01)


def test_gates_pass_gradients_where_they_are_between():
    log_a = torch.zeros(200, requires_grad=True)
    drawn = draw_gates(log_a, torch.Generator().manual_seed(1))
    drawn.sum().backward()
    between = (drawn > 0) & (drawn < 1)
    assert bool(between.any()) and bool((log_a.grad[between] > 0).all()) and bool((log_a.grad[~between] == 0).all())


@pytest.fixture
def loaded(tmp_path):
    model = load(write_folder(tmp_path / "m"))
    # Heads 2 of layer 0 and 3, 4, 5 of layer 2 (a whole KV group) reach nothing.
    model.layers[0].o.weight.data[:, 32:48] = 0
    model.layers[2].o.weight.data[:, 48:] = 0
    return model


def test_idle_heads_close_first(loaded):
    found = gate_scores(loaded, WINDOWS, False, Training(steps=60, weight=0.02, rate=0.2), lambda _: None)
    idle = {(0, 2), (2, 3), (2, 4), (2, 5)}
    order = sorted((score, layer, head) for layer, row in enumerate(found) for head, score in enumerate(row))
    assert {(layer, head) for _, layer, head in order[:4]} == idle


def test_groups_share_one_gate_and_the_idle_group_closes_first(loaded):
    found = gate_scores(loaded, WINDOWS, True, Training(steps=60, weight=0.02, rate=0.2), lambda _: None)
    groups = [(row[start], layer, start) for layer, row in enumerate(found) for start in (0, 3)]
    assert all(len(set(row[start : start + 3])) == 1 for row in found for start in (0, 3))
    assert min(groups)[1:] == (2, 3)


def test_the_same_seed_gives_the_same_gates_and_the_weights_stay(loaded):
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    one, again, other = (gate_scores(loaded, WINDOWS, False, Training(steps=3, seed=s), lambda _: None) for s in (1, 1, 2))
    assert one == again != other
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.named_parameters())
