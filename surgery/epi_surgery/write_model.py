"""Write a model file from its metadata and recipes, with a progress bar, hashed or not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from epi_surgery.gguf_write import write_gguf, written_bytes
from epi_surgery.hashing import HashingWriter
from epi_surgery.metadata import Entry
from epi_surgery.progress import Bar
from epi_surgery.recipe import Recipe


def write_hashed(path: Path, entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int, bar: Bar) -> str:
    """Write the file; returns its sha256, hex."""
    length = written_bytes(entries, recipes, alignment)
    with bar("writing the model", length) as advance, path.open("wb") as file, HashingWriter(file) as writer:
        write_gguf(_counted(writer.write, advance), entries, recipes, alignment)
    return writer.hexdigest()


def write_plain(path: Path, entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int, bar: Bar) -> None:
    """Write a file that is only looked at and deleted."""
    length = written_bytes(entries, recipes, alignment)
    with bar("writing its twin", length) as advance, path.open("wb") as file:
        write_gguf(_counted(file.write, advance), entries, recipes, alignment)


def _counted(write: Callable[[bytes], object], advance: Callable[[int], None]) -> Callable[[bytes], None]:
    def counted(data: bytes) -> None:
        write(data)
        advance(len(data))

    return counted
