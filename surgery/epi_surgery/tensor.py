"""One tensor of a GGUF file: its type, shape and place, and the arithmetic of quantised rows."""

from dataclasses import dataclass
from math import prod

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from epi_surgery.errors import SurgeryError


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies. `shape` is in ggml's order: row length first. `offset` is absolute, in bytes."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def n_rows(self) -> int:
        return self.n_elements // self.shape[0]

    @property
    def row_bytes(self) -> int:
        return row_bytes(self.type, self.shape[0])

    @property
    def n_bytes(self) -> int:
        return self.n_rows * self.row_bytes


def block_size(kind: GGMLQuantizationType) -> int:
    """Elements that share one quantisation block; 1 for the float types."""
    return int(GGML_QUANT_SIZES[kind][0])


def block_bytes(kind: GGMLQuantizationType) -> int:
    """Bytes of one block."""
    return int(GGML_QUANT_SIZES[kind][1])


def row_bytes(kind: GGMLQuantizationType, n_elements: int) -> int:
    """Bytes of a row of `n_elements` in the given quantisation; raises SurgeryError where blocks do not divide it."""
    if n_elements % block_size(kind):
        raise SurgeryError(
            f"a row of {n_elements} elements cannot be stored as {kind.name}, whose blocks hold {block_size(kind)}"
        )
    return n_elements // block_size(kind) * block_bytes(kind)
