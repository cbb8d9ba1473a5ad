"""Movement (Sanh et al. 2020): heads whose weights shrink while the model is trained leave first.

The score of a head is -sum over steps of sum of weight * gradient, over its rows of q and its columns of o; the projections
of attention are trained by Adam meanwhile, and restored afterwards.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from epi_surgery.errors import SurgeryError
from epi_surgery.model.attention import AttentionLayer
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits, token_losses
from epi_surgery.norms import Scores

RATE = 1e-4


def movement_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None]) -> dict[str, Scores]:
    """One step of training per window; raises SurgeryError for an offloaded model, which cannot be trained."""
    if loaded.offloaded:
        raise SurgeryError("movement trains the model and needs it whole in memory: rank without --offload, or by taylor")
    sums = [torch.zeros(n, dtype=torch.float64) for n in loaded.n_head]
    with _trainable(loaded) as weights:
        optimiser = torch.optim.Adam(weights, lr=RATE)
        for window in windows:
            optimiser.zero_grad()
            with torch.enable_grad():
                token_losses(logits(loaded, window[None]), window[None]).mean().backward()
            for layer in loaded.layers:
                sums[layer.index] -= _weight_times_gradient(layer)
            optimiser.step()
            advance(window.numel())
    return {"movement": tuple(tuple(row.tolist()) for row in sums)}


def _weight_times_gradient(layer: AttentionLayer) -> Tensor:
    rows, columns = (_product(linear).double().cpu() for linear in (layer.q, layer.o))
    shape = (layer.n_head, layer.head_dim)
    return rows.sum(dim=1).view(shape).sum(dim=1) + columns.sum(dim=0).view(shape).sum(dim=1)


def _product(linear: nn.Linear) -> Tensor:
    weight = linear.weight
    return torch.zeros_like(weight) if weight.grad is None else (weight * weight.grad).detach()


@contextmanager
def _trainable(loaded: Loaded) -> Iterator[list[nn.Parameter]]:
    weights = [linear.weight for layer in loaded.layers for linear in (layer.q, layer.k, layer.v, layer.o)]
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield weights
    finally:
        for weight, value in zip(weights, before, strict=True):
            weight.requires_grad_(False)
            weight.grad = None
            weight.data.copy_(value)
