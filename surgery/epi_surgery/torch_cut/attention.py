"""Self-attention with groups of any size: physically smaller projections, one slot of the cache for each KV head.

One projection gives keys, queries and values side by side, rotation is applied to keys and queries at once, and a single
decoding step folds each group into the query dimension (places.py), so that a ragged layer issues no operation more than a
uniform one. Longer inputs and batches expand keys and values by an index instead.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from epi_surgery.torch_cut.places import Places, is_slice

# Of queries and of keys, over one head's width.
Norms = tuple[nn.Module, nn.Module]


class GroupedAttention(nn.Module):
    """Takes the place of a decoder layer's self_attn; same arguments, same result.

    `kqv` has the rows (keys, queries, values) in the order of `places`, `o` the columns of the queries in that order.
    A layer that does not `rotate` knows no positions, as every fourth of SmolLM3.
    """

    def __init__(
        self, places: Places, kqv: nn.Linear, o: nn.Linear, norms: Norms | None, index: int, rotate: bool = True
    ) -> None:
        super().__init__()
        self.places, self.layer_idx, self._rotate = places, index, rotate
        self.kqv, self.o_proj = kqv, o
        self.q_norm: nn.Module | None = norms[0] if norms else None
        self.k_norm: nn.Module | None = norms[1] if norms else None
        n_q, n_kv = len(places.query), len(places.kv)
        self._n_q, self._n_kv = n_q, n_kv
        self.head_dim = kqv.out_features // (n_q + 2 * n_kv)
        self.scaling = self.head_dim**-0.5
        self._uniform = len(set(places.sizes)) == 1
        self._slice = is_slice(places.used)
        width = self.head_dim
        self._first, self._last = places.used[0] * width, (places.used[-1] + 1) * width
        half = torch.ones(width, dtype=kqv.weight.dtype)
        half[: width // 2] = -1.0
        self.register_buffer("_sign", half, persistent=False)
        self.register_buffer("_owners", torch.tensor(places.owners), persistent=False)
        self.register_buffer("_used", torch.tensor(places.used), persistent=False)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """(batch, token, embedding) in and out."""
        batch, n_tokens, _ = hidden_states.shape
        rows = self.kqv(hidden_states).view(batch, n_tokens, -1, self.head_dim)
        turned = self._rotated(rows, position_embeddings)
        n_kq = self._n_kv + self._n_q
        key, value = turned[:, :, : self._n_kv].transpose(1, 2), rows[:, :, n_kq:].transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        if batch == n_tokens == 1 and attention_mask is None:
            return self.o_proj(self._step(turned, key, value)), None
        query = turned[:, :, self._n_kv : n_kq].transpose(1, 2)
        return self.o_proj(self._attend(query, key, value, attention_mask)), None

    def _rotated(self, rows: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:
        """Keys and queries turned by their position, and as many value rows as the last window reaches into."""
        n_kq = self._n_kv + self._n_q
        part = rows[:, :, : n_kq + self.places.behind]
        if self.q_norm is not None and self.k_norm is not None:
            normed = [self.k_norm(part[:, :, : self._n_kv]), self.q_norm(part[:, :, self._n_kv : n_kq]), part[:, :, n_kq:]]
            part = torch.cat(normed, dim=2)
        if not self._rotate:
            return part
        cos, sin = (table.unsqueeze(2) for table in position_embeddings)
        swapped = part.roll(self.head_dim // 2, dims=-1)
        return torch.addcmul(part * cos, swapped, sin * self._sign)

    def _step(self, turned: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """One token of one sequence: (KV head, 1, place, width) as a view, nothing gathered."""
        width, places = self.head_dim, self.places
        shape, strides = (self._n_kv, 1, places.height, width), (places.stride * width, width, width, 1)
        offset = turned.storage_offset() + (self._n_kv + places.start) * width
        query = turned.as_strided(shape, strides, offset)
        out = functional.scaled_dot_product_attention(query, key.transpose(0, 1), value.transpose(0, 1), scale=self.scaling)
        if self._slice:
            return out.reshape(1, 1, -1)[:, :, self._first : self._last]
        return out.reshape(-1, width).index_select(0, self._used).view(1, 1, -1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        batch, _, n_tokens, _ = query.shape
        key, value = self._expanded(key), self._expanded(value)
        causal = mask is None and n_tokens > 1
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, scale=self.scaling)
        return out.transpose(1, 2).reshape(batch, n_tokens, -1)

    def _expanded(self, heads: Tensor) -> Tensor:
        """A key or value head for each query head."""
        if self._n_q == self._n_kv:
            return heads
        if self._uniform:
            batch, n_kv, n_tokens, width = heads.shape
            group = self._n_q // self._n_kv
            return heads[:, :, None].expand(batch, n_kv, group, n_tokens, width).reshape(batch, self._n_q, n_tokens, width)
        return heads.index_select(1, self._owners)
