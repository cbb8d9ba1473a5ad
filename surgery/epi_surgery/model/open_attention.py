"""Attention whose weight matrix can be seen: eager, causal, with a function of the caller's on the weights.

transformers' own eager attention shows weights only at the end of a whole forward, all layers at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from epi_surgery.model.load import Loaded

# Takes the layer's index and its weights (sequence, head, query, key), rows summing to 1; returns what goes on.
OnWeights = Callable[[int, Tensor], Tensor]
# Takes queries, keys and values as they enter; returns what goes on.
OnInputs = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
_NAME = "epi-surgery"


@contextmanager
def open_attention(loaded: Loaded, on_weights: OnWeights, on_inputs: OnInputs | None = None) -> Iterator[None]:
    """Compute attention eagerly and pass its weights through `on_weights` while the block runs."""
    config = loaded.model.config
    before = config._attn_implementation
    ALL_ATTENTION_FUNCTIONS[_NAME] = _attention(on_weights, on_inputs)
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        del ALL_ATTENTION_FUNCTIONS[_NAME]


def _attention(on_weights: OnWeights, on_inputs: OnInputs | None) -> Callable[..., tuple[Tensor, None]]:
    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Tensor | None, scaling: float, **__: object
    ) -> tuple[Tensor, None]:
        if on_inputs is not None:
            query, key, value = on_inputs(query, key, value)
        group: int = module.num_key_value_groups  # type: ignore[assignment]
        key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
        future = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).triu(1)
        logits = (query @ key.transpose(2, 3) * scaling).masked_fill(future, float("-inf"))
        weights = torch.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
        index: int = module.layer_idx  # type: ignore[assignment]
        return (on_weights(index, weights) @ value).transpose(1, 2).contiguous(), None

    return attention
