"""Relevance of attention heads by AttnLRP over every prefix of every window, in one backward pass per window.

For a prefix of t tokens the prediction's largest logit is propagated back to the attention weights A of every layer; the
relevance of a head is then the mean over queries of the mean over the keys that a query may see (Settles' masked mean):

    R_t(head) = 1/t * sum over queries i <= t of 1/i * sum over keys j <= i of A_ij * dlogit_t/dA_ij / 2

It is linear in what is propagated back, and a causal model computes the same A for a prefix and for the whole window. So
the sum over all prefixes is one backward pass of the sum over t of logit_t / t. The variants with absolute values take
them after that sum (per window, per element of A, or per element of the head's output), where that is still one pass.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from epi_surgery.model.attention import AttentionLayer
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits
from epi_surgery.norms import Scores
from epi_surgery.rank.gradient import watched
from epi_surgery.rank.lrp_rules import lrp_rules

CRITERIA = ("attnlrp", "attnlrp-abs", "attnlrp-element", "attnlrp-output")


def lrp_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None]) -> dict[str, Scores]:
    """The signed mean over windows (the report's criterion) and its three absolute variants, from the same passes."""
    sums = {name: [torch.zeros(n, dtype=torch.float64) for n in loaded.n_head] for name in CRITERIA}

    def add_output(layer: AttentionLayer, values: Tensor, gradient: Tensor) -> None:
        sums["attnlrp-output"][layer.index] += (values * gradient).double().abs().sum(dim=(0, 1, 3)).cpu()

    for window in windows:
        relevance = Relevance(loaded)
        with watched(loaded.layers, add_output):
            relevance.propagate(window, range(1, len(window) + 1))
        for layer, (signed, element) in enumerate(zip(relevance.signed, relevance.element, strict=True)):
            sums["attnlrp"][layer] += signed
            sums["attnlrp-abs"][layer] += signed.abs()
            sums["attnlrp-element"][layer] += element
        advance(window.numel())
    return {name: tuple(tuple((row / len(windows)).tolist()) for row in rows) for name, rows in sums.items()}


class Relevance:
    """Relevance per layer and head, summed over what was propagated so far: signed, and element by element absolute."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.signed = [torch.zeros(n, dtype=torch.float64) for n in loaded.n_head]
        self.element = [torch.zeros(n, dtype=torch.float64) for n in loaded.n_head]

    def propagate(self, window: Tensor, prefixes: Sequence[int]) -> None:
        """One backward pass for the prefixes of these lengths of one window (token,)."""
        with torch.enable_grad(), lrp_rules(self._loaded, self._watch):
            largest = logits(self._loaded, window[None])[0].float().max(dim=-1).values
            ends = torch.tensor(list(prefixes), device=largest.device)
            (largest[ends - 1] / ends).sum().backward()

    def _watch(self, layer: int, weights: Tensor) -> Tensor:
        values = weights.detach()
        if weights.requires_grad:
            weights.register_hook(lambda gradient: self._add(layer, values, gradient))
        return weights

    def _add(self, layer: int, values: Tensor, gradient: Tensor) -> None:
        relevance = (values * gradient).double() / 2
        visible = torch.arange(1, values.shape[2] + 1, device=values.device)
        for sums, parts in ((self.signed, relevance), (self.element, relevance.abs())):
            sums[layer] += (parts.sum(dim=-1) / visible).sum(dim=(0, 2)).cpu()


def by_prefixes(loaded: Loaded, window: Tensor) -> list[Tensor]:
    """The signed relevance summed over prefixes run one after another: what `propagate` does in one pass."""
    relevance = Relevance(loaded)
    for n_tokens in range(1, len(window) + 1):
        relevance.propagate(window[:n_tokens], [n_tokens])
    return relevance.signed
