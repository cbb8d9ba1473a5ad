"""Ragged attention as the report describes it: keys and values repeated head by head before every attention.

Settles, "Analyzing the Effects of Targeted Structural Pruning of Attention Heads", section III-D: after pruning, each KV head
is expanded by the number of query heads its group has left (torch.repeat_interleave with a tensor of counts), separate
projections. Here only to be compared with.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from epi_surgery.model.attention import AttentionLayer
from epi_surgery.torch_cut.cutting import linear, rows_of
from epi_surgery.torch_cut.places import Groups


class ExpandingAttention(nn.Module):
    """Takes the place of a decoder layer's self_attn."""

    def __init__(self, layer: AttentionLayer, groups: Groups) -> None:
        super().__init__()
        width, self.layer_idx = layer.head_dim, layer.index
        query = [head for heads in groups.values() for head in heads]
        self.q_proj, self.k_proj, self.v_proj = (
            linear(*rows_of(projection, heads, width))
            for projection, heads in ((layer.q, query), (layer.k, list(groups)), (layer.v, list(groups)))
        )
        self.o_proj = linear(layer.o.weight.unflatten(1, (-1, width))[:, query].flatten(1).contiguous(), layer.o.bias)
        self.head_dim = width
        self.register_buffer("counts", torch.tensor([len(heads) for heads in groups.values()]), persistent=False)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """(batch, token, embedding) in and out."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        projections = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (projection(hidden_states).view(shape).transpose(1, 2) for projection in projections)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        key, value = (heads.repeat_interleave(self.counts, dim=1) for heads in (key, value))
        causal = attention_mask is None and query.shape[2] > 1
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, is_causal=causal)
        return self.o_proj(out.transpose(1, 2).flatten(2)), None
