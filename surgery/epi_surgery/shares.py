"""How much a cut really removes, counted from tensor shapes: the ceiling of what it can save."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from epi_surgery.architecture import Architecture
from epi_surgery.gqa import LayerHeads
from epi_surgery.recipe import Recipe
from epi_surgery.tensor import Tensor


@dataclass(frozen=True)
class Count:
    """One quantity before and after the cut."""

    before: int
    after: int

    @property
    def removed_share(self) -> float:
        """Removed / before; 0 for a quantity the model does not have."""
        return (self.before - self.after) / self.before if self.before else 0.0


@dataclass(frozen=True)
class Shares:
    """Heads over all layers, parameters (tensor elements), and bytes of tensor data without metadata."""

    query_heads: Count
    kv_heads: Count
    parameters: Count
    tensor_bytes: Count


def shares_of(arch: Architecture, kept: Sequence[LayerHeads], before: Iterable[Tensor], after: Iterable[Recipe]) -> Shares:
    """Exact counts of a cut, from the tensors that were and the tensors that will be."""
    old, new = list(before), list(after)
    return Shares(
        query_heads=Count(sum(arch.n_head), sum(len(layer.query) for layer in kept)),
        kv_heads=Count(sum(arch.n_kv), sum(len(layer.kv) for layer in kept)),
        parameters=Count(sum(tensor.n_elements for tensor in old), sum(recipe.n_elements for recipe in new)),
        tensor_bytes=Count(sum(tensor.n_bytes for tensor in old), sum(recipe.n_bytes for recipe in new)),
    )
