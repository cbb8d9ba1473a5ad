"""Read a GGUF file: its metadata as raw bytes, where each tensor lies, and any span of it on demand.

Spans are read with pread, not through a memory map: a file that shrinks meanwhile gives an error and not SIGBUS, and the
pages of an 8B model do not count as ours.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from epi_surgery.errors import NotAGguf, SurgeryError
from epi_surgery.gguf_header import Header
from epi_surgery.metadata import entry_value
from epi_surgery.tensor import Tensor

DEFAULT_ALIGNMENT = 32
CHUNK_BYTES = 8 << 20


class GgufFile:
    """An open GGUF file; a context manager. Raises NotAGguf for anything that is not a whole one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        try:
            self.n_bytes = os.fstat(self._file.fileno()).st_size
            header = Header(self._file, path, self.n_bytes)
            self.version = header.version
            self.entries = {entry.key: entry for entry in header.entries()}
            infos = list(header.tensors())
            self.alignment = self.number("general.alignment", DEFAULT_ALIGNMENT)
            if self.alignment < 1:
                raise NotAGguf(f"{path}: general.alignment is {self.alignment}; the header is damaged")
            start = align(self._file.tell(), self.alignment)
            self.tensors = {name: Tensor(name, kind, shape, start + offset) for name, kind, shape, offset in infos}
            self._check_extent()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def number(self, key: str, default: int | None = None) -> int:
        """The integer under `key`; raises NotAGguf where it is missing without a default, or no integer."""
        entry = self.entries.get(key)
        value = default if entry is None else entry_value(entry)
        if not isinstance(value, int):
            raise NotAGguf(f"{self.path}: the key {key} is {'missing' if entry is None else 'not an integer'}")
        return value

    def text(self, key: str, default: str = "") -> str:
        """The string under `key`, or the default."""
        entry = self.entries.get(key)
        value = default if entry is None else entry_value(entry)
        return value if isinstance(value, str) else default

    def span(self, offset: int, n_bytes: int) -> bytes:
        """The bytes [offset, offset + n_bytes) of the file."""
        data = os.pread(self._file.fileno(), n_bytes, offset)
        if len(data) != n_bytes:
            raise NotAGguf(f"{self.path}: the file became shorter while it was being read")
        return data

    def stands_at(self, tensor: Tensor) -> tuple[int, int]:
        """Descriptor of the open file, and the tensor's offset in it."""
        return self._file.fileno(), tensor.offset

    def chunks(self, tensor: Tensor) -> Iterator[bytes]:
        """All bytes of a tensor, in chunks of whole rows of about 8 MiB."""
        step = max(1, CHUNK_BYTES // tensor.row_bytes)
        for row in range(0, tensor.n_rows, step):
            yield self.span(tensor.offset + row * tensor.row_bytes, min(step, tensor.n_rows - row) * tensor.row_bytes)

    def _check_extent(self) -> None:
        last = max(self.tensors.values(), key=lambda tensor: tensor.offset + tensor.n_bytes, default=None)
        if last is not None and last.offset + last.n_bytes > self.n_bytes:
            raise NotAGguf(
                f"{self.path}: truncated: tensor {last.name} ends at byte {last.offset + last.n_bytes:,} "
                f"but the file has only {self.n_bytes:,}; copy or download it again"
            )


def align(offset: int, alignment: int) -> int:
    """The next multiple of `alignment` at or after `offset`."""
    return -(-offset // alignment) * alignment


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SurgeryError(f"{path}: {(error.strerror or 'cannot be opened').lower()}") from error
