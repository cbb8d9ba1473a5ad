"""Criteria from one backward pass per window: how the loss would move if a head's output were scaled.

With a the output of a head and g the gradient of the summed loss to it, the gradient to a gate of 1 on that head is the
sum of a * g (Michel et al. 2019). Per token t it is s_t = sum over the head's width of a_t * g_t, and

    gradact           mean of |a| * |g| over tokens and width (the paper's own criterion)
    taylor-token      sum over tokens of |s_t|
    taylor-sequence   sum over windows of |sum over tokens of s_t|
    taylor-squared    sum over windows of (sum over tokens of s_t)^2
    taylor            mean rank of taylor-token and taylor-squared
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from epi_surgery.model.attention import AttentionLayer
from epi_surgery.model.gates import on_heads
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.norms import Scores
from epi_surgery.rank.order import rank_average

CRITERIA = ("gradact", "taylor-token", "taylor-sequence", "taylor-squared", "taylor")
# Called with the layer, a head output (sequence, token, head, width) and the gradient to it.
OnGradient = Callable[[AttentionLayer, Tensor, Tensor], None]


def gradient_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None]) -> dict[str, Scores]:
    """All criteria of this family from the same passes; `advance` is called with each window's tokens."""
    tally = _Tally(loaded)
    for window in windows:
        with torch.enable_grad(), watched(loaded.layers, tally.add):
            token_losses(logits(loaded, window[None]), window[None]).sum().backward()
        advance(window.numel())
    return tally.scores(windows.numel())


@contextmanager
def watched(layers: tuple[AttentionLayer, ...], act: OnGradient) -> Iterator[None]:
    """Call `act` on the way back with each layer's head outputs and the gradients to them."""

    def watch(layer: AttentionLayer, heads: Tensor) -> Tensor:
        if heads.requires_grad:
            values = heads.detach()
            heads.register_hook(lambda gradient: act(layer, values, gradient))
        return heads

    with on_heads(layers, watch):
        yield


class _Tally:
    """Running sums per layer and head, in float64."""

    def __init__(self, loaded: Loaded) -> None:
        shapes = [layer.n_head for layer in loaded.layers]
        self._width = loaded.layers[0].head_dim
        self._sums = {name: [torch.zeros(n, dtype=torch.float64) for n in shapes] for name in CRITERIA[:-1]}

    def add(self, layer: AttentionLayer, values: Tensor, gradient: Tensor) -> None:
        products = (values * gradient).double()
        per_token = products.sum(dim=-1)
        per_window = per_token.sum(dim=1)
        index = layer.index
        self._sums["gradact"][index] += products.abs().sum(dim=(0, 1, 3)).cpu()
        self._sums["taylor-token"][index] += per_token.abs().sum(dim=(0, 1)).cpu()
        self._sums["taylor-sequence"][index] += per_window.abs().sum(dim=0).cpu()
        self._sums["taylor-squared"][index] += per_window.square().sum(dim=0).cpu()

    def scores(self, n_tokens: int) -> dict[str, Scores]:
        found = {name: tuple(tuple(row.tolist()) for row in rows) for name, rows in self._sums.items()}
        n_values = n_tokens * self._width
        found["gradact"] = tuple(tuple(value / n_values for value in row) for row in found["gradact"])
        found["taylor"] = rank_average([found["taylor-token"], found["taylor-squared"]])
        return found
