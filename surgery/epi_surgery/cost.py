"""What one generated token costs by arithmetic: operations, and bytes read. The ceiling of what a cut can save.

Decoding one token at context `c`, batch 1:

    FLOPs   2 per weight of every matrix that is applied, and per query head 2 c (head_dim_k + head_dim_v)
    bytes   every weight once, and per KV head c (head_dim_k + head_dim_v) cached values in the engine's type

Heads are counted as they stand in the file, zero heads that fill up a group included.

Of the token embedding one row is read; where it is tied it is also the output matrix and is read whole. A machine limited
by memory can save no more than the share of bytes, one limited by arithmetic no more than the share of FLOPs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from epi_surgery.architecture import Architecture
from epi_surgery.recipe import Recipe
from epi_surgery.shares import Count
from epi_surgery.stored import StoredLayer
from epi_surgery.tensor import Tensor

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


class Stored(Protocol):
    """What a tensor and the recipe of one have in common."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def n_elements(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...


@dataclass(frozen=True)
class PerToken:
    """FLOPs and bytes of one decoded token at `context` tokens in the cache, before and after the cut."""

    context: int
    flops: Count
    read_bytes: Count


def per_token(
    arch: Architecture,
    layers: Sequence[StoredLayer],
    before: Iterable[Tensor],
    after: Iterable[Recipe],
    context: int,
    cache_bytes: int = 2,
) -> PerToken:
    """Both costs of a cut, from the tensors that were and the tensors that will be; `cache_bytes` per cached value."""
    old, new = list(before), list(after)
    width = context * (arch.head_dim_k + arch.head_dim_v)
    query = Count(sum(arch.n_head), sum(len(layer.query) for layer in layers))
    kv = Count(sum(arch.n_kv), sum(len(layer.kv) for layer in layers))
    flops = Count(_flops(old) + 2 * width * query.before, _flops(new) + 2 * width * query.after)
    read = Count(_bytes(old) + cache_bytes * width * kv.before, _bytes(new) + cache_bytes * width * kv.after)
    return PerToken(context, flops, read)


def _flops(tensors: Sequence[Stored]) -> int:
    return sum(2 * tensor.n_elements for tensor in _applied(tensors) if len(tensor.shape) == 2)


def _bytes(tensors: Sequence[Stored]) -> int:
    embedding = sum(tensor.n_bytes // tensor.shape[1] for tensor in tensors if tensor.name == _EMBEDDING)
    return embedding + sum(tensor.n_bytes for tensor in _applied(tensors))


def _applied(tensors: Sequence[Stored]) -> list[Stored]:
    tied = all(tensor.name != _OUTPUT for tensor in tensors)
    return [tensor for tensor in tensors if tied or tensor.name != _EMBEDDING]
