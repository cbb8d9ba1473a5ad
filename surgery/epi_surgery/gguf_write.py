"""Stream a new GGUF file (version 3) from recipes: one chunk of a tensor in memory at a time."""

import struct
from collections.abc import Callable, Sequence

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import align
from epi_surgery.gguf_header import MAGIC
from epi_surgery.metadata import Entry
from epi_surgery.recipe import Recipe

VERSION = 3
Write = Callable[[bytes], object]
# Copies (descriptor, offset, bytes) to where the next write would go; returns how many bytes, 0 where it cannot.
Copy = Callable[[int, int, int], int]


def written_bytes(entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int) -> int:
    """The size of the file that `write_gguf` will produce."""
    return len(_header(entries, recipes, alignment)) + sum(align(recipe.n_bytes, alignment) for recipe in recipes)


def write_gguf(
    write: Write, entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int, copy: Copy | None = None
) -> None:
    """Hand header and tensors, in order, to `write`; with `copy`, tensors that stand in a file already are left to it."""
    write(_header(entries, recipes, alignment))
    for recipe in recipes:
        _write_tensor(recipe, alignment, write, copy)


def _write_tensor(recipe: Recipe, alignment: int, write: Write, copy: Copy | None) -> None:
    n_bytes = copy(*recipe.stands_at, recipe.n_bytes) if copy is not None and recipe.stands_at is not None else 0
    if n_bytes == 0:
        for chunk in recipe.chunks():
            write(chunk)
            n_bytes += len(chunk)
    if n_bytes != recipe.n_bytes:
        raise SurgeryError(f"tensor {recipe.name}: {n_bytes:,} bytes were produced where its shape needs {recipe.n_bytes:,}")
    write(b"\0" * (align(n_bytes, alignment) - n_bytes))


def _header(entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(recipes), len(entries))]
    for entry in entries:
        parts += [_text(entry.key), struct.pack("<I", entry.type), entry.raw]
    offset = 0
    for recipe in recipes:
        shape = struct.pack(f"<I{len(recipe.shape)}Q", len(recipe.shape), *recipe.shape)
        parts += [_text(recipe.name), shape, struct.pack("<IQ", recipe.type, offset)]
        offset += align(recipe.n_bytes, alignment)
    header = b"".join(parts)
    return header.ljust(align(len(header), alignment), b"\0")


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
