"""The attention of each decoder layer, as every criterion sees it: four projections and three counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gqa import group_size


@dataclass(frozen=True)
class AttentionLayer:
    """One layer's attention. Query head h owns rows [h*d, (h+1)*d) of q and the same columns of o; k and v go by group."""

    index: int
    module: nn.Module
    n_head: int
    n_kv: int
    head_dim: int

    @property
    def group(self) -> int:
        """Query heads per key/value head."""
        return group_size(self.n_head, self.n_kv)

    @property
    def q(self) -> nn.Linear:
        """n_head * head_dim outputs."""
        return self._projection("q_proj")

    @property
    def k(self) -> nn.Linear:
        """n_kv * head_dim outputs."""
        return self._projection("k_proj")

    @property
    def v(self) -> nn.Linear:
        """n_kv * head_dim outputs."""
        return self._projection("v_proj")

    @property
    def o(self) -> nn.Linear:
        """n_head * head_dim inputs: the heads' outputs side by side."""
        return self._projection("o_proj")

    def by_head(self, output: Tensor) -> Tensor:
        """The input of o, (…, n_head * head_dim), seen as (…, n_head, head_dim)."""
        return output.unflatten(-1, (self.n_head, self.head_dim))

    def _projection(self, name: str) -> nn.Linear:
        found: nn.Linear = getattr(self.module, name)
        return found


class NoAttention(nn.Module):
    """A layer whose attention was removed: adds nothing, but counts its tokens, since the cache's length is asked of it."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.layer_idx = index

    def forward(self, hidden_states: Tensor, past_key_values: Any = None, **_: Any) -> tuple[Tensor, None]:
        """Zeros."""
        if past_key_values is not None:
            batch, n_tokens, _ = hidden_states.shape
            token = hidden_states.new_zeros(batch, 1, n_tokens, 1)
            past_key_values.update(token, token, self.layer_idx)
        return torch.zeros_like(hidden_states), None


def attention_layers(model: nn.Module) -> tuple[AttentionLayer, ...]:
    """The attention of each layer that has any, in order; raises UnsupportedModel where a projection is missing."""
    blocks = enumerate(decoder_layers(model))
    return tuple(_layer(index, block.self_attn) for index, block in blocks if not isinstance(block.self_attn, NoAttention))


def decoder_layers(model: nn.Module) -> Iterator[nn.Module]:
    """The decoder layers of a causal language model."""
    inner = getattr(model, "model", None)
    if inner is None or not hasattr(inner, "layers"):
        raise UnsupportedModel(f"{type(model).__name__} has no list of decoder layers at model.layers: not Llama-shaped")
    yield from inner.layers


def _layer(index: int, module: nn.Module) -> AttentionLayer:
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        if not hasattr(module, name):
            raise UnsupportedModel(f"layer {index}: model.layers.{index}.self_attn has no {name}: not Llama-shaped attention")
    head_dim: int = module.head_dim  # type: ignore[assignment]
    n_head, n_kv = (getattr(module, name).out_features // head_dim for name in ("q_proj", "k_proj"))
    return AttentionLayer(index, module, n_head, n_kv, head_dim)
