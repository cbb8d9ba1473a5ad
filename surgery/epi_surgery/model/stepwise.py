"""A forward pass layer by layer, so that a criterion can stop, change and resume it anywhere.

Computes what the model's own forward computes for whole sequences without padding (the causal mask is implied, and
sequences must be shorter than any sliding window).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from epi_surgery.model.load import Loaded


@torch.no_grad()
def embed(loaded: Loaded, ids: Tensor) -> Tensor:
    """Token ids (sequence, token) to hidden states (sequence, token, width)."""
    return loaded.model.get_input_embeddings()(ids.to(loaded.device))


def run_layers(loaded: Loaded, hidden: Tensor, first: int = 0, end: int | None = None) -> Tensor:
    """Pass hidden states through the layers [first, end); all remaining ones by default.

    With gradients on, an offloaded model computes each layer again on the way back instead of keeping its weights.
    """
    where = _where(loaded, hidden)
    for layer in loaded.model.model.layers[first:end]:
        call = _caller(layer, where)
        recompute = loaded.offloaded and torch.is_grad_enabled() and hidden.requires_grad
        hidden = checkpoint(call, hidden, use_reentrant=False) if recompute else call(hidden)
    return hidden


def run_attention(loaded: Loaded, index: int, hidden: Tensor) -> Tensor:
    """The first half of a layer: what enters it plus what its attention adds."""
    layer = loaded.model.model.layers[index]
    return hidden + layer.self_attn(layer.input_layernorm(hidden), attention_mask=None, **_where(loaded, hidden))[0]


def run_feed_forward(loaded: Loaded, index: int, hidden: Tensor) -> Tensor:
    """The second half of a layer: what its attention left plus what its feed-forward adds."""
    layer = loaded.model.model.layers[index]
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def logits_of(loaded: Loaded, hidden: Tensor) -> Tensor:
    """The last hidden states to logits (sequence, token, vocabulary)."""
    return loaded.model.lm_head(loaded.model.model.norm(hidden))


def logits(loaded: Loaded, ids: Tensor) -> Tensor:
    """The whole way; inside `torch.enable_grad` the graph begins at the embeddings."""
    hidden = embed(loaded, ids)
    if torch.is_grad_enabled():
        hidden.requires_grad_(True)
    return logits_of(loaded, run_layers(loaded, hidden))


def token_losses(values: Tensor, ids: Tensor) -> Tensor:
    """Negative log-likelihood of each token after the first, (sequence, token - 1), in nats and float32."""
    targets = ids[:, 1:].to(values.device)
    # Flat: with the vocabulary as the middle dimension this takes several times as long.
    losses = functional.cross_entropy(values[:, :-1].float().flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view(targets.shape)


def _where(loaded: Loaded, hidden: Tensor) -> dict[str, Any]:
    positions = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
    return {"position_ids": positions, "position_embeddings": loaded.model.model.rotary_emb(hidden, positions)}


def _caller(layer: nn.Module, where: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    def call(hidden: Tensor) -> Tensor:
        out = layer(hidden, attention_mask=None, **where)
        return out[0] if isinstance(out, tuple) else out

    return call
