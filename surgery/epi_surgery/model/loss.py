"""The mean loss of a model on windows of text, and the way from one model's predictions towards another's."""

import torch
from torch import Tensor

from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits, token_losses


@torch.no_grad()
def mean_loss(loaded: Loaded, windows: Tensor, batch: int = 4) -> float:
    """Nats per token over every token but each window's first; its exponential is the perplexity."""
    parts = [token_losses(logits(loaded, some), some).flatten() for some in windows.split(batch)]
    return float(torch.cat(parts).double().mean())


def slope_towards(wanted: Tensor, found: Tensor) -> Tensor:
    """What to pass back from the logits `found`: the slope of their mean Kullback-Leibler divergence from `wanted`.

    That slope is q - p. Written out it is exactly zero for equal models; Adam would blow the rounding of a computed loss up
    to whole steps.
    """
    slope = found.detach().float().softmax(dim=-1) - wanted.float().softmax(dim=-1)
    return (slope / found.shape[:-1].numel()).to(found)
