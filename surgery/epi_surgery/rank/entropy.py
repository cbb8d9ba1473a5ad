"""Attention entropy: how widely a head spreads its weights, mean over queries of -sum p ln p, in nats.

Heads of low entropy leave first. The other way round ruins a model (see the room's README): heads that look everywhere
are few and matter much.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from epi_surgery.model.load import Loaded
from epi_surgery.model.open_attention import open_attention
from epi_surgery.model.stepwise import embed, run_layers
from epi_surgery.norms import Scores


@torch.no_grad()
def entropy_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None]) -> dict[str, Scores]:
    """Mean entropy per layer and head over all queries of all windows."""
    sums = [torch.zeros(n, dtype=torch.float64) for n in loaded.n_head]

    def add(layer: int, weights: Tensor) -> Tensor:
        sums[layer] += torch.special.entr(weights.double()).sum(dim=-1).sum(dim=(0, 2)).cpu()
        return weights

    with open_attention(loaded, add):
        for window in windows:
            run_layers(loaded, embed(loaded, window[None]))
            advance(window.numel())
    return {"entropy": tuple(tuple((row / windows.numel()).tolist()) for row in sums)}
