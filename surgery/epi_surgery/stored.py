"""How a layer's kept heads stand in a file whose engine pairs query and KV heads by position.

Groups of different size are filled up with zero heads (None below) to the largest, so that position / group size is right
again; zeros compute nothing, and a plan counts what they weigh. llama.cpp takes the head dimension from layer 0, so a layer
0 without attention keeps one KV head with one zero query head.

    ragged   query  0 . 2 | 3 . . | 6 7 8      stored  0 2 - | 3 - - | 6 7 8
"""

from dataclasses import dataclass

from epi_surgery.gqa import LayerHeads, kv_of

Heads = tuple[int | None, ...]


@dataclass(frozen=True)
class StoredLayer:
    """Original indices in the order of the file; None is a head of zeros."""

    query: Heads
    kv: tuple[int, ...]


def exactly(layer: LayerHeads) -> StoredLayer:
    """The kept heads and nothing else, for an engine that knows groups of different size."""
    return StoredLayer(layer.query, layer.kv)


def padded(layer: LayerHeads, n_head: int, n_kv: int, is_first: bool) -> StoredLayer:
    """The kept heads with every group filled up to the largest; layer 0 is never left without attention."""
    if not layer.query:
        return StoredLayer((None,), (0,)) if is_first and n_head else StoredLayer((), ())
    groups = [[head for head in layer.query if kv_of(head, n_head, n_kv) == kv] for kv in layer.kv]
    largest = max(len(group) for group in groups)
    filled: list[int | None] = []
    for group in groups:
        filled += [*group, *[None] * (largest - len(group))]
    return StoredLayer(tuple(filled), layer.kv)
