"""Every criterion against a plain computation of what it says it is."""

import pytest
import torch

from epi_surgery.model import gated, load
from epi_surgery.model.gates import on_heads
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.rank.activation import activation_scores
from epi_surgery.rank.entropy import entropy_scores
from epi_surgery.rank.gradient import gradient_scores
from epi_surgery.rank.movement import movement_scores
from epi_surgery.rank.order import relative_to_layer, standardised
from fakes.pico_folder import write_folder

WINDOWS = torch.randint(0, 250, (3, 20), generator=torch.Generator().manual_seed(5))


def nothing(_):
    pass


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load(write_folder(tmp_path_factory.mktemp("rank") / "m"))


def head_outputs(loaded, window):
    """What enters the output projections, and the gradients of the summed loss to it, from torch's own machinery."""
    found = []

    def keep(_, heads):
        heads.retain_grad()
        found.append(heads)
        return heads

    with on_heads(loaded.layers, keep), torch.enable_grad():
        token_losses(logits(loaded, window[None]), window[None]).sum().backward()
    return [heads.detach().double()[0] for heads in found], [heads.grad.double()[0] for heads in found]


def test_gate_gradients_and_their_sums(loaded):
    found = gradient_scores(loaded, WINDOWS, nothing)
    gates = [torch.ones(6, requires_grad=True) for _ in loaded.layers]
    sequence, squared = torch.zeros(3, 6), torch.zeros(3, 6)
    for window in WINDOWS:
        with gated(loaded.layers, gates), torch.enable_grad():
            loss = token_losses(logits(loaded, window[None]), window[None]).sum()
        slope = torch.stack(torch.autograd.grad(loss, gates))
        sequence += slope.abs()
        squared += slope.square()
    torch.testing.assert_close(torch.tensor(found["taylor-sequence"]), sequence, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(found["taylor-squared"]), squared, rtol=1e-4, atol=1e-5)


def test_token_wise_criteria(loaded):
    found = gradient_scores(loaded, WINDOWS, nothing)
    gradact, token = torch.zeros(3, 6).double(), torch.zeros(3, 6).double()
    for window in WINDOWS:
        for layer, (a, g) in enumerate(zip(*head_outputs(loaded, window), strict=True)):
            gradact[layer] += (a.abs() * g.abs()).sum(dim=(0, 2)) / (WINDOWS.numel() * 16)
            token[layer] += (a * g).sum(dim=2).abs().sum(dim=0)
    torch.testing.assert_close(torch.tensor(found["gradact"]).double(), gradact, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(torch.tensor(found["taylor-token"]).double(), token, rtol=1e-4, atol=1e-7)


def test_taylor_predicts_what_a_small_change_does(loaded):
    found = gradient_scores(loaded, WINDOWS[:1], nothing)["taylor-sequence"]

    def loss(gate):
        gates = [torch.ones(6, dtype=torch.float64) for _ in loaded.layers]
        gates[1][4] = gate
        with gated(loaded.layers, gates), torch.no_grad():
            return token_losses(logits(loaded, WINDOWS[:1]), WINDOWS[:1]).double().sum()

    assert abs(loss(1.02) - loss(0.98)).item() / 0.04 == pytest.approx(found[1][4], rel=0.02)


def test_wanda_and_flap_from_their_formulas(loaded):
    found = activation_scores(loaded, WINDOWS, nothing)
    inputs = [head_outputs(loaded, window)[0] for window in WINDOWS]
    wanda, flap = [], []
    for layer in loaded.layers:
        features = torch.cat([values[layer.index].flatten(1) for values in inputs])
        weight = layer.o.weight.double()
        wanda.append((weight.abs() * features.norm(dim=0)).sum(dim=0).view(6, 16).sum(dim=1))
        flap.append((features.var(dim=0) * weight.square().sum(dim=0)).view(6, 16).sum(dim=1))
    for name, expected in (("wanda", relative_to_layer), ("flap", standardised)):
        rows = expected(tuple(tuple(row.tolist()) for row in (wanda if name == "wanda" else flap)))
        torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(rows), rtol=1e-4, atol=1e-4)


def test_entropy_of_the_weights_that_transformers_shows(loaded):
    found = torch.tensor(entropy_scores(loaded, WINDOWS, nothing)["entropy"])
    loaded.model.set_attn_implementation("eager")
    with torch.no_grad():
        seen = loaded.model(WINDOWS, output_attentions=True).attentions
    loaded.model.set_attn_implementation("sdpa")
    expected = torch.stack([torch.special.entr(weights).sum(dim=-1).mean(dim=(0, 2)) for weights in seen])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_movement_of_one_step_and_weights_that_come_back(loaded):
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    found = movement_scores(loaded, WINDOWS[:1], nothing)["movement"]
    movement_scores(loaded, WINDOWS, nothing)
    for name, value in loaded.model.named_parameters():
        assert torch.equal(value, before[name]) and not value.requires_grad and value.grad is None
    layer = loaded.layers[2]
    for linear in (layer.q, layer.o):
        linear.weight.requires_grad_(True)
    with torch.enable_grad():
        loss = token_losses(logits(loaded, WINDOWS[:1]), WINDOWS[:1]).mean()
        q, o = torch.autograd.grad(loss, [layer.q.weight, layer.o.weight])
    for linear in (layer.q, layer.o):
        linear.weight.requires_grad_(False)
    expected = -(q * layer.q.weight)[32:48].sum() - (o * layer.o.weight)[:, 32:48].sum()
    assert found[2][2] == pytest.approx(expected.item(), rel=1e-3)
