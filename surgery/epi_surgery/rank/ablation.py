"""Single-head ablation, the oracle: how much the loss rises when one head alone is silenced.

The hidden states before a layer are computed once for all its heads, and each head's loss from there on. What is done is
noted in a journal, layer by layer, so that an interrupted run goes on where it stopped.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from epi_surgery.model.attention import AttentionLayer
from epi_surgery.model.gates import on_heads
from epi_surgery.model.load import Loaded
from epi_surgery.model.loss import loss_behind
from epi_surgery.model.stepwise import embed, run_layers
from epi_surgery.norms import Scores
from epi_surgery.rank.journal import Journal


@torch.no_grad()
def ablation_scores(loaded: Loaded, windows: Tensor, advance: Callable[[int], None], journal: Journal) -> Scores:
    """Rise of the mean loss per token, in nats, without each head; `advance` is called with the heads done."""
    hidden = embed(loaded, windows)
    base = loss_behind(loaded, run_layers(loaded, hidden), windows)
    for layer in loaded.layers:
        if layer.index not in journal.rows:
            journal.note(layer.index, [loss - base for loss in _losses_without(loaded, layer, hidden, windows)])
        advance(layer.n_head)
        hidden = run_layers(loaded, hidden, layer.index, layer.index + 1)
    return tuple(journal.rows[layer.index] for layer in loaded.layers)


def _losses_without(loaded: Loaded, layer: AttentionLayer, hidden: Tensor, windows: Tensor) -> list[float]:
    losses = []
    for head in range(layer.n_head):
        with on_heads([layer], _silencing(head)):
            losses.append(loss_behind(loaded, run_layers(loaded, hidden, layer.index), windows))
    return losses


def _silencing(head: int) -> Callable[[AttentionLayer, Tensor], Tensor]:
    def silence(_: AttentionLayer, heads: Tensor) -> Tensor:
        silenced = heads.clone()
        silenced[..., head, :] = 0
        return silenced

    return silence
