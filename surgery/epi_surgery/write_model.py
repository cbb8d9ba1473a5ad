"""Write a model file from its metadata and recipes, with a progress bar, hashed or not."""

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from io import RawIOBase
from pathlib import Path

from epi_surgery.errors import NotAGguf
from epi_surgery.gguf_write import write_gguf, written_bytes
from epi_surgery.hashing import HashingWriter
from epi_surgery.metadata import Entry
from epi_surgery.progress import Bar
from epi_surgery.recipe import Recipe

_COPY_BYTES = 64 << 20
_CANNOT_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def write_hashed(path: Path, entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int, bar: Bar) -> str:
    """Write the file; returns its sha256, hex."""
    length = written_bytes(entries, recipes, alignment)
    with bar("writing the model", length) as advance, path.open("wb") as file, HashingWriter(file) as writer:
        write_gguf(_counted(writer.write, advance), entries, recipes, alignment)
    return writer.hexdigest()


def write_plain(path: Path, entries: Sequence[Entry], recipes: Sequence[Recipe], alignment: int, bar: Bar) -> None:
    """Write the file and nothing more; what is the same in the original never passes through this process."""
    length = written_bytes(entries, recipes, alignment)
    with bar("writing the model", length) as advance, path.open("wb", buffering=0) as file:
        write_gguf(_counted(_whole(file), advance), entries, recipes, alignment, partial(_copied, file, advance))


def _whole(file: RawIOBase) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:  # an unbuffered file may take less than it is given
            view = view[file.write(view) or 0 :]

    return write


def _copied(file: RawIOBase, advance: Callable[[int], None], source: int, offset: int, n_bytes: int) -> int:
    """Let the kernel copy, without a way through our memory; 0 where the file systems cannot."""
    done = 0
    while done < n_bytes:
        try:
            step = os.copy_file_range(source, file.fileno(), min(n_bytes - done, _COPY_BYTES), offset + done)
        except OSError as error:
            if done or error.errno not in _CANNOT_COPY:
                raise
            return 0
        if step == 0:
            raise NotAGguf("the model became shorter while it was being read")
        done += step
        advance(step)
    return done


def _counted(write: Callable[[bytes], object], advance: Callable[[int], None]) -> Callable[[bytes], None]:
    def counted(data: bytes) -> None:
        write(data)
        advance(len(data))

    return counted
