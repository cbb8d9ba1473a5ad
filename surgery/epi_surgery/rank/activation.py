"""Criteria from one forward pass: what reaches the output projection, weighed by its columns.

wanda   sum over a head's columns of |weight| * L2 norm of the input feature (Sun et al. 2024), divided by the layer's mean
flap    sum over a head's columns of the input feature's variance * squared norm of the column (An et al. 2024),
        standardised within the layer
"""

from collections.abc import Callable

import torch
from accelerate.utils import align_module_device
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
    sums = {layer.index: torch.zeros(2, layer.n_head * layer.head_dim, dtype=torch.float64) for layer in loaded.layers}

    def add(layer: AttentionLayer, heads: Tensor) -> Tensor:
        values = heads.flatten(-2).double()
        sums[layer.index] += torch.stack([values.sum(dim=(0, 1)), values.square().sum(dim=(0, 1))]).cpu()
        return heads

    with on_heads(loaded.layers, add):
        for window in windows:
            run_layers(loaded, embed(loaded, window[None]))
            advance(window.numel())
    wanda, flap = [], []
    for layer in loaded.layers:
        weighted = _weighted(layer, sums[layer.index], windows.numel())
        wanda.append(_per_head(layer, weighted[0]))
        flap.append(_per_head(layer, weighted[1]))
    return {"wanda": relative_to_layer(tuple(wanda)), "flap": standardised(tuple(flap))}


def _weighted(layer: AttentionLayer, sums: Tensor, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Both criteria per input feature of the output projection, from the feature's sum and sum of squares."""
    with align_module_device(layer.o):  # an offloaded weight is only there in here
        columns = layer.o.weight.double()
        absolute, squared = columns.abs().sum(dim=0).cpu(), columns.square().sum(dim=0).cpu()
    total, squares = sums
    variance = (squares - total.square() / n_tokens) / max(1, n_tokens - 1)
    return absolute * squares.sqrt(), squared * variance


def _per_head(layer: AttentionLayer, features: Tensor) -> tuple[float, ...]:
    return tuple(layer.by_head(features).sum(dim=-1).tolist())
