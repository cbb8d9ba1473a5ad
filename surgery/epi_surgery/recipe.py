"""How each tensor of a new GGUF file comes about: its name, type, shape, and bytes produced only when written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Protocol

from gguf import GGMLQuantizationType

from epi_surgery.tensor import Tensor, row_bytes

Chunks = Callable[[], Iterator[bytes]]


class Bytes(Protocol):
    """Tensors and any span of their bytes: a GGUF, or the weight files of a folder read as one."""

    path: Path
    tensors: dict[str, Tensor]

    def span(self, offset: int, n_bytes: int) -> bytes: ...
    def stands_at(self, tensor: Tensor) -> tuple[int, int]: ...
    def chunks(self, tensor: Tensor) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Recipe:
    """One tensor to be written. `shape` in ggml's order, row length first; `requantised_from` tells of a change of type.

    `stands_at` is the descriptor and offset where the very same bytes stand already, for a writer that lets the kernel copy.
    """

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    chunks: Chunks
    requantised_from: GGMLQuantizationType | None = None
    stands_at: tuple[int, int] | None = None

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.n_elements // self.shape[0] * row_bytes(self.type, self.shape[0])


def verbatim(model: Bytes, tensor: Tensor, name: str | None = None) -> Recipe:
    """The tensor byte for byte, under its own name or another."""
    chunks = partial(model.chunks, tensor)
    return Recipe(name or tensor.name, tensor.type, tensor.shape, chunks, stands_at=model.stands_at(tensor))
