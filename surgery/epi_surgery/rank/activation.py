"""Criteria from one forward pass: what reaches the output projection, weighed by its columns.

wanda   sum over a head's columns of |weight| * L2 norm of the input feature (Sun et al. 2024), divided by the layer's mean
flap    sum over a head's columns of the input feature's variance * squared norm of the column (An et al. 2024),
        standardised within the layer
"""

from collections.abc import Callable

import torch
from torch import Tensor

from epi_surgery.model.attention import AttentionLayer
from epi_surgery.model.gates import on_heads
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import embed, run_layers
from epi_surgery.norms import Scores
from epi_surgery.rank.order import relative_to_layer, standardised


@torch.no_grad()
def activation_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None]) -> dict[str, Scores]:
    """Both criteria from the same passes."""
    sums = [torch.zeros(2, layer.n_head * layer.head_dim, dtype=torch.float64) for layer in loaded.layers]
    weights = [torch.zeros(2, layer.n_head * layer.head_dim, dtype=torch.float64) for layer in loaded.layers]

    def add(layer: AttentionLayer, heads: Tensor) -> Tensor:
        values = heads.flatten(-2).double()
        sums[layer.index] += torch.stack([values.sum(dim=(0, 1)), values.square().sum(dim=(0, 1))]).cpu()
        return heads

    def weigh(layer: AttentionLayer) -> Callable[..., None]:
        # Inside the forward, where an offloaded weight is at hand.
        def hook(module: torch.nn.Linear, *_: object) -> None:
            columns = module.weight.double()
            weights[layer.index] = torch.stack([columns.abs().sum(dim=0), columns.square().sum(dim=0)]).cpu()

        return hook

    handles = [layer.o.register_forward_hook(weigh(layer)) for layer in loaded.layers]
    try:
        with on_heads(loaded.layers, add):
            for window in windows:
                run_layers(loaded, embed(loaded, window[None]))
                advance(window.numel())
    finally:
        for handle in handles:
            handle.remove()
    return _scores(loaded, sums, weights, windows.numel())


def _scores(loaded: Loaded, sums: list[Tensor], weights: list[Tensor], n_tokens: int) -> dict[str, Scores]:
    wanda, flap = [], []
    for layer, (total, squares), (absolute, squared) in zip(loaded.layers, sums, weights, strict=True):
        variance = (squares - total.square() / n_tokens) / max(1, n_tokens - 1)
        wanda.append(_per_head(layer, absolute * squares.sqrt()))
        flap.append(_per_head(layer, squared * variance))
    return {"wanda": relative_to_layer(tuple(wanda)), "flap": standardised(tuple(flap))}


def _per_head(layer: AttentionLayer, features: Tensor) -> tuple[float, ...]:
    return tuple(layer.by_head(features).sum(dim=-1).tolist())
