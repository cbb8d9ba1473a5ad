"""Weight norms per query head, straight from the GGUF: the cheapest criterion, with no data and no gradient.

The score of a head is the sum over its q, k, v and o slices of that slice's norm (L1 or L2), each divided by the mean of
its kind within the layer. Without that division a global ranking empties the first two layers, where norms are small and
heads matter most, and the model collapses; with it a score says how a head compares with its neighbours.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from epi_surgery.architecture import Architecture
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gqa import group_size
from epi_surgery.slices import Floats, decoded_rows
from epi_surgery.tensor import Tensor

Scores = tuple[tuple[float, ...], ...]
_Norms = npt.NDArray[np.float64]


def norm_scores(model: GgufFile, arch: Architecture, order: int, per_layer: bool, advance: Callable[[int], None]) -> Scores:
    """One score per layer and query head, low = little weight; `order` 1 or 2; `advance` is called once per layer."""
    scores = []
    for layer in range(arch.n_layer):
        norms = slice_norms(model, arch, layer, order) if arch.n_head[layer] else np.zeros((4, 0))
        # A layer whose slices are all zero has no mean to divide by; its heads score 0.
        scale = norms.mean(axis=1, keepdims=True) if per_layer and norms.size else np.ones((4, 1))
        scores.append(tuple((norms / np.where(scale > 0, scale, 1.0)).sum(axis=0).tolist()))
        advance(1)
    return tuple(scores)


def slice_norms(model: GgufFile, arch: Architecture, layer: int, order: int) -> _Norms:
    """Norms of shape (4, n_head): the q, k, v and o slices of each query head of a layer, k and v being the group's."""
    group = group_size(arch.n_head[layer], arch.n_kv[layer])
    tensors = model.tensors
    query = _row_norms(model, tensors[f"blk.{layer}.attn_q.weight"], arch.head_dim_k, order)
    key = _row_norms(model, tensors[f"blk.{layer}.attn_k.weight"], arch.head_dim_k, order)
    value = _row_norms(model, tensors[f"blk.{layer}.attn_v.weight"], arch.head_dim_v, order)
    output = _column_norms(model, tensors[f"blk.{layer}.attn_output.weight"], arch.head_dim_v, order)
    return np.stack([query, np.repeat(key, group), np.repeat(value, group), output])


def _row_norms(model: GgufFile, tensor: Tensor, width: int, order: int) -> _Norms:
    per_row = np.concatenate([_powers(rows, order).sum(axis=1) for rows in decoded_rows(model, tensor)])
    return _root(per_row.reshape(-1, width).sum(axis=1), order)


def _column_norms(model: GgufFile, tensor: Tensor, width: int, order: int) -> _Norms:
    totals: Iterator[_Norms] = (_powers(rows, order).sum(axis=0) for rows in decoded_rows(model, tensor))
    return _root(np.sum(list(totals), axis=0).reshape(-1, width).sum(axis=1), order)


def _powers(rows: Floats, order: int) -> _Norms:
    return np.abs(rows).astype(np.float64) ** order


def _root(totals: _Norms, order: int) -> _Norms:
    return np.asarray(totals ** (1.0 / order), dtype=np.float64)
