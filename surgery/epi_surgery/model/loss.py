"""The mean loss of a model on windows of text."""

import torch
from torch import Tensor

from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import logits, logits_of, token_losses


@torch.no_grad()
def mean_loss(loaded: Loaded, windows: Tensor, batch: int = 4) -> float:
    """Nats per token over every token but each window's first; its exponential is the perplexity."""
    parts = [token_losses(logits(loaded, some), some).flatten() for some in windows.split(batch)]
    return float(torch.cat(parts).double().mean())


def loss_behind(loaded: Loaded, hidden: Tensor, windows: Tensor) -> float:
    """The same from the last hidden states (window, token, width), computed elsewhere."""
    # Logits window by window: those of all windows at once would be the largest thing in memory.
    parts = [token_losses(logits_of(loaded, hidden[i : i + 1]), windows[i : i + 1]) for i in range(len(windows))]
    return float(torch.cat(parts).double().mean())
