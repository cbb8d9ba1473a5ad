"""One head count for all layers and nodes, as distributed-llama needs it, for heads that may differ from layer to layer.

distributed-llama checks neither that KV heads are divisible by the nodes nor that query heads are divisible by KV heads: both
give garbage and exit status 0. So shapes that fit are taken as they are, and others are filled up with zero heads:

    equal layers, KV heads not divisible   whole zero groups          6/3 on 2 nodes -> 8/4
    layers that differ                     one KV head for each query  9/3 and 6/3   -> 9/9, six heads and three of zeros
                                           head, repeated, and zeros

Zero heads compute nothing and cost what they weigh; repeated KV heads cost memory and cache. Both are correct, neither saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epi_surgery.errors import BadPlan

Heads = tuple[int | None, ...]


@dataclass(frozen=True)
class NodeShape:
    """Equal counts for every layer; per layer which stored query and KV head stands where, None for zeros."""

    n_head: int
    n_kv: int
    query: tuple[Heads, ...]
    kv: tuple[Heads, ...]
    added: str | None


def node_shape(n_head: Sequence[int], n_kv: Sequence[int], nodes: int) -> NodeShape:
    """The shape for so many nodes; raises BadPlan where there are more nodes than KV heads could be made for."""
    if nodes < 1:
        raise BadPlan("distributed-llama runs on one node or more")
    if len(set(zip(n_head, n_kv, strict=True))) > 1:
        return _one_kv_for_each(n_head, n_kv, nodes)
    heads, groups = n_head[0], n_kv[0]
    size, full = heads // groups, _up(groups, nodes)
    query = (*range(heads), *[None] * (full - groups) * size)
    kv = (*range(groups), *[None] * (full - groups))
    added = None if full == groups else f"{full - groups} KV groups of zeros in each layer, for {nodes} nodes"
    return NodeShape(full * size, full, (query,) * len(n_head), (kv,) * len(n_head), added)


def _one_kv_for_each(n_head: Sequence[int], n_kv: Sequence[int], nodes: int) -> NodeShape:
    width = _up(max(n_head), nodes)
    query, kv = [], []
    for heads, groups in zip(n_head, n_kv, strict=True):
        fill = (None,) * (width - heads)
        query.append((*range(heads), *fill))
        kv.append((*(head * groups // heads for head in range(heads)), *fill))
    added = "layers that differ: a KV head repeated for every query head, and zero heads; correct, but it saves nothing"
    return NodeShape(width, width, tuple(query), tuple(kv), added)


def _up(count: int, nodes: int) -> int:
    return -(-count // nodes) * nodes
