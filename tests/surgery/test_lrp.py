"""AttnLRP: its rules conserve relevance where they must, and one pass gives what a loop over all prefixes gives."""

import pytest
import torch

from epi_surgery.model import load
from epi_surgery.model.open_attention import open_attention
from epi_surgery.model.stepwise import logits
from epi_surgery.rank.attnlrp import CRITERIA, Relevance, by_prefixes, lrp_scores
from epi_surgery.rank.lrp_rules import lrp_rules
from fakes.pico_folder import write_folder

WINDOW = torch.randint(0, 250, (14,), generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def loaded(request, tmp_path_factory):
    return load(write_folder(tmp_path_factory.mktemp("lrp") / "m", request.param))


def same(_, weights):
    return weights


def relevance_through(module, inputs):
    """The sums of gradient * input before and after a module."""
    inputs = inputs.requires_grad_(True)
    outputs = module(inputs)
    gradient = torch.randn_like(outputs)
    (back,) = torch.autograd.grad(outputs, inputs, gradient)
    return (inputs * back).sum().item(), (outputs * gradient).sum().item()


def test_norms_and_feed_forward_conserve_relevance(loaded):
    layer = loaded.model.model.layers[1]
    for module in (layer.input_layernorm, layer.mlp):
        with lrp_rules(loaded, same), torch.enable_grad():
            before, after = relevance_through(module, torch.randn(5, 48))
        assert before == pytest.approx(after, rel=1e-4)
        with torch.enable_grad():
            plain, after = relevance_through(module, torch.randn(5, 48))
        assert plain != pytest.approx(after, rel=1e-2)


def test_attention_weights_carry_half_of_what_leaves_the_heads(loaded):
    seen = {}

    def watch(layer, weights):
        if layer == 2:
            weights.register_hook(lambda gradient: seen.update(weights=(weights * gradient).sum().item() / 2))
        return weights

    def leave(_, inputs):
        inputs[0].register_hook(lambda gradient: seen.update(outputs=(inputs[0] * gradient).sum().item()))

    handle = loaded.layers[2].o.register_forward_pre_hook(leave)
    with lrp_rules(loaded, watch), torch.enable_grad():
        logits(loaded, WINDOW[None])[0, -1].max().backward()
    handle.remove()
    assert seen["weights"] == pytest.approx(seen["outputs"] / 2, rel=1e-4)


def test_the_rules_change_no_value_and_leave_no_trace(loaded):
    with torch.no_grad():
        before = logits(loaded, WINDOW[None])
        with lrp_rules(loaded, same):
            inside = logits(loaded, WINDOW[None])
        torch.testing.assert_close(inside, before, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits(loaded, WINDOW[None]), before, rtol=0, atol=0)
    assert not any("forward" in module.__dict__ for module in loaded.model.modules())


def test_one_pass_is_the_loop_over_prefixes(loaded):
    one = Relevance(loaded)
    one.propagate(WINDOW, range(1, len(WINDOW) + 1))
    for ours, loop in zip(one.signed, by_prefixes(loaded, WINDOW), strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-4, atol=1e-4 * loop.abs().max().item())


def test_relevance_of_one_prefix_by_hand(loaded):
    """The masked mean of the definition, on weights and gradients taken apart from the class."""
    kept = []

    def keep(_, weights):
        weights.retain_grad()
        kept.append(weights)
        return weights

    with lrp_rules(loaded, keep), torch.enable_grad():
        logits(loaded, WINDOW[None])[0, -1].max().backward()
    one = Relevance(loaded)
    one.propagate(WINDOW, [len(WINDOW)])
    for layer, weights in enumerate(kept):
        product = (weights * weights.grad / 2)[0].double()
        rows = [product[:, query, : query + 1].mean(dim=1) for query in range(len(WINDOW))]
        torch.testing.assert_close(one.signed[layer], torch.stack(rows).mean(dim=0), rtol=1e-4, atol=1e-9)


def test_absolute_variants_are_no_smaller(loaded):
    found = lrp_scores(loaded, torch.stack([WINDOW, WINDOW.flip(0)]), lambda _: None)
    signed, absolute, element, output = (torch.tensor(found[name]) for name in CRITERIA)
    assert bool((signed < 0).any())
    assert bool((signed.abs() <= absolute + 1e-9).all()) and bool((absolute <= element + 1e-9).all()) and bool((output > 0).all())


def test_open_attention_computes_what_sdpa_computes(loaded):
    with torch.no_grad(), open_attention(loaded, same):
        opened = logits(loaded, WINDOW[None])
    with torch.no_grad():
        torch.testing.assert_close(opened, logits(loaded, WINDOW[None]), rtol=1e-4, atol=1e-4)
