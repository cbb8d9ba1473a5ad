"""Healing in closed form: the algebra against least squares, the control that must not change, and a cut that gets better."""

import pytest
import torch
from torch import nn

from epi_surgery.gqa import keep
from epi_surgery.heal.closed_form import Healing, heal
from epi_surgery.heal.distil import Distillation, distil, divergence
from epi_surgery.heal.ridge import Normal
from epi_surgery.model import load, masked
from epi_surgery.model.stepwise import embed, logits, run_attention, run_feed_forward, run_layers
from fakes.pico_folder import write_folder

WINDOWS = torch.randint(0, 250, (12, 24), generator=torch.Generator().manual_seed(9))
FRESH = torch.randint(0, 250, (4, 24), generator=torch.Generator().manual_seed(10))
KEPT = (keep([0, 1, 3, 4], 6, 2), keep([0, 1, 2], 6, 2), keep([1, 2, 4, 5], 6, 2))


@pytest.fixture
def pair(tmp_path):
    folder = write_folder(tmp_path / "m")
    return load(folder), load(folder)


def nothing(_):
    pass


def test_the_solution_is_that_of_ridge_regression():
    generator = torch.Generator().manual_seed(1)
    linear = nn.Linear(6, 4).requires_grad_(False)
    inputs, missing = torch.randn(50, 6, generator=generator), torch.randn(50, 4, generator=generator)
    normal = Normal(linear)
    normal.add(inputs[:20], missing[:20])
    normal.add(inputs[20:].view(5, 6, 6), missing[20:].view(5, 6, 4))
    damping = 0.3 * inputs.square().sum(dim=0).mean()
    # Ridge regression as ordinary least squares with rows added.
    rows = torch.cat([inputs, damping.sqrt() * torch.eye(6)])
    change = torch.linalg.lstsq(rows, torch.cat([missing, torch.zeros(6, 4)])).solution
    torch.testing.assert_close(normal.healed(0.3), linear.weight + change.T, rtol=1e-4, atol=1e-5)


def test_columns_that_never_see_anything_stay():
    linear = nn.Linear(6, 4).requires_grad_(False)
    normal = Normal(linear)
    inputs = torch.randn(30, 6)
    inputs[:, 2:4] = 0
    normal.add(inputs, torch.randn(30, 4))
    healed = normal.healed(0.01)
    torch.testing.assert_close(healed[:, 2:4], linear.weight[:, 2:4])
    assert bool((healed[:, :2] - linear.weight[:, :2]).abs().min() > 1e-6)


def test_a_layer_without_any_input_stays():
    linear = nn.Linear(3, 2).requires_grad_(False)
    normal = Normal(linear)
    normal.add(torch.zeros(5, 3), torch.randn(5, 2))
    assert torch.equal(normal.healed(0.01), linear.weight)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "smollm3"])
def test_two_halves_are_a_layer(tmp_path, family):
    loaded = load(write_folder(tmp_path / "m", family))
    with torch.no_grad():
        hidden = embed(loaded, FRESH)
        whole = run_layers(loaded, hidden, 1, 2)
        torch.testing.assert_close(run_feed_forward(loaded, 1, run_attention(loaded, 1, hidden)), whole, rtol=1e-5, atol=1e-5)


def test_the_uncut_model_stays_as_it_is(pair):
    dense, same = pair
    before = {name: value.clone() for name, value in same.model.named_parameters()}
    changed = heal(dense, same, WINDOWS, Healing(feed_forward=True), nothing)
    assert len(changed) == 6
    for name, value in same.model.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)


def twins(loaded):
    """Make heads 2 and 5 of every layer attend exactly as heads 1 and 4 do; what they add to the output still differs."""
    for layer in loaded.layers:
        rows = layer.by_head(layer.q.weight.T).movedim(0, -1)
        rows[[2, 5]] = rows[[1, 4]].clone()


def distance(dense, cut, kept):
    with torch.no_grad():
        wanted = logits(dense, FRESH)
        with masked(cut.layers, kept):
            return (logits(cut, FRESH) - wanted).square().mean().item()


@pytest.mark.parametrize("feed_forward", [False, True])
def test_what_the_remaining_heads_know_is_recovered_whole(pair, feed_forward):
    dense, cut = pair
    for loaded in pair:
        twins(loaded)
    kept = [keep([0, 1, 3, 4], 6, 2)] * 3
    before, uncut = distance(dense, cut, kept), [layer.o.weight.clone() for layer in dense.layers]
    with masked(cut.layers, kept):
        heal(dense, cut, WINDOWS, Healing(strength=1e-7, feed_forward=feed_forward), nothing)
    assert distance(dense, cut, kept) < 1e-4 * before
    for layer, weight in zip(cut.layers, uncut, strict=True):
        healed, old = layer.by_head(layer.o.weight), layer.by_head(weight)
        torch.testing.assert_close(healed[:, [2, 5]], old[:, [2, 5]])
        torch.testing.assert_close(healed[:, [1, 4]], old[:, [1, 4]] + old[:, [2, 5]], rtol=1e-2, atol=1e-2)


NAMES = [f"model.layers.{index}.self_attn.o_proj.weight" for index in range(3)]


def test_distillation_lowers_the_divergence_on_fresh_tokens_and_moves_nothing_else(pair):
    dense, cut = pair
    for loaded in pair:
        twins(loaded)
    uncut = {name: value.clone() for name, value in cut.model.named_parameters()}
    with masked(cut.layers, [keep([0, 1, 3, 4], 6, 2)] * 3):
        before = divergence(dense, cut, FRESH)
        distil(dense, cut, WINDOWS, NAMES, Distillation(300, 1e-2), nothing)
        assert divergence(dense, cut, FRESH) < 0.8 * before
    for name, value in cut.model.named_parameters():
        assert torch.equal(value, uncut[name]) == (name not in NAMES)
        assert not value.requires_grad and value.grad is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_uncut_model_learns_nothing_from_distillation(pair, dtype):
    dense, same = pair
    assert divergence(dense, same, FRESH) == pytest.approx(0, abs=1e-6)
    distil(dense, same, WINDOWS, NAMES, Distillation(5, 1e-3, dtype), nothing)
    for name in NAMES:
        torch.testing.assert_close(same.model.get_parameter(name), dense.model.get_parameter(name), rtol=0, atol=1e-4)
    assert divergence(dense, same, FRESH) == pytest.approx(0, abs=1e-6)


def test_steps_in_bfloat16_go_the_same_way(pair):
    dense, cut = pair
    with masked(cut.layers, KEPT):
        before = divergence(dense, cut, WINDOWS)
        found = distil(dense, cut, WINDOWS, NAMES, Distillation(60, 1e-2, "bfloat16"), nothing)
        assert divergence(dense, cut, WINDOWS) < before
    assert all(values.dtype == torch.float32 for values in found.values())


def test_divergence_is_that_of_the_two_distributions(pair):
    dense, other = pair
    with masked(other.layers, KEPT), torch.no_grad():
        p, q = logits(dense, FRESH[:1])[0].softmax(dim=-1), logits(other, FRESH[:1])[0].softmax(dim=-1)
        expected = (p * (p / q).log()).sum(dim=-1).mean()
        assert divergence(dense, other, FRESH[:1]) == pytest.approx(expected.item(), rel=1e-4)


def test_only_what_is_named_changes(pair):
    dense, cut = pair
    uncut = {name: value.clone() for name, value in cut.model.named_parameters()}
    with masked(cut.layers, KEPT):
        changed = heal(dense, cut, WINDOWS, Healing(), nothing)
    assert sorted(changed) == [f"model.layers.{index}.self_attn.o_proj.weight" for index in range(3)]
    for name, value in cut.model.named_parameters():
        assert torch.equal(value, uncut[name]) == (name not in changed)
