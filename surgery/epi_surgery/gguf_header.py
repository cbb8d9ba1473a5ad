"""Walk a GGUF header: keys as raw bytes, then where each tensor lies.

Format: ggml docs/gguf.md, versions 2 and 3, little-endian. The gguf package's own reader makes arrays of every token of
the tokenizer, which takes seconds; a cut copies metadata byte for byte, so here a value stays bytes until asked for.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gguf import GGMLQuantizationType, GGUFValueType

from epi_surgery.errors import NotAGguf, SurgeryError
from epi_surgery.metadata import SCALARS, Entry
from epi_surgery.tensor import row_bytes

MAGIC = b"GGUF"
_MAX_NAME_BYTES = 65535
_MAX_DIMENSIONS = 4


class Header:
    """A cursor over the header; every read is checked against the end of the file."""

    def __init__(self, file: BinaryIO, path: Path, n_bytes: int) -> None:
        self._file, self._path, self._n_bytes = file, path, n_bytes
        if file.read(4) != MAGIC:
            raise NotAGguf(f"{path}: not a GGUF file (it does not begin with the letters GGUF)")
        self.version = self._unpack("<I")
        if self.version not in (2, 3):
            raise NotAGguf(f"{path}: GGUF version {self.version} is not one that can be cut (2 or 3, little-endian)")
        self._n_tensors = self._unpack("<Q")
        self._n_entries = self._unpack("<Q")

    def entries(self) -> Iterator[Entry]:
        """Every key, its value as raw bytes; to be exhausted before `tensors`."""
        for _ in range(self._n_entries):
            key = self._string(_MAX_NAME_BYTES).decode("utf-8", errors="replace")
            kind = self._value_type(key)
            start = self._file.tell()
            self._skip_value(kind, key)
            stop = self._file.tell()
            yield Entry(key, kind, os.pread(self._file.fileno(), stop - start, start))

    def tensors(self) -> Iterator[tuple[str, GGMLQuantizationType, tuple[int, ...], int]]:
        """Name, type, shape and offset (relative to the data section) of every tensor."""
        for _ in range(self._n_tensors):
            name = self._string(_MAX_NAME_BYTES).decode("utf-8", errors="replace")
            n_dims = self._unpack("<I")
            if not 1 <= n_dims <= _MAX_DIMENSIONS:
                raise NotAGguf(f"{self._path}: tensor {name} claims {n_dims} dimensions; the header is damaged")
            shape = tuple(self._unpack("<Q") for _ in range(n_dims))
            number = self._unpack("<I")
            yield name, self._quantisation(name, number, shape), shape, self._unpack("<Q")

    def _quantisation(self, name: str, number: int, shape: tuple[int, ...]) -> GGMLQuantizationType:
        try:
            kind = GGMLQuantizationType(number)
            row_bytes(kind, shape[0])
        except ValueError:
            raise NotAGguf(
                f"{self._path}: tensor {name} has the unknown type number {number}; a newer gguf package may know it"
            ) from None
        except SurgeryError as error:
            raise NotAGguf(f"{self._path}: tensor {name}: {error}; the header is damaged") from None
        if min(shape) < 1:
            raise NotAGguf(f"{self._path}: tensor {name} has an empty dimension in its shape {shape}")
        return kind

    def _value_type(self, key: str) -> GGUFValueType:
        number = self._unpack("<I")
        try:
            return GGUFValueType(number)
        except ValueError:
            raise NotAGguf(f"{self._path}: the key {key} has the unknown value type {number}; the header is damaged") from None

    def _skip_value(self, kind: GGUFValueType, key: str) -> None:
        if kind == GGUFValueType.STRING:
            self._string(self._n_bytes)
        elif kind == GGUFValueType.ARRAY:
            self._skip_array(key)
        else:
            self._take(struct.calcsize(SCALARS[kind]))

    def _skip_array(self, key: str) -> None:
        item, count = self._value_type(key), self._unpack("<Q")
        if item == GGUFValueType.ARRAY:
            raise NotAGguf(f"{self._path}: the key {key} holds nested arrays, which are not supported")
        if item == GGUFValueType.STRING:
            for _ in range(count):
                self._string(self._n_bytes)
        else:
            self._take(count * struct.calcsize(SCALARS[item]))

    def _string(self, limit: int) -> bytes:
        length = self._unpack("<Q")
        if length > limit:
            raise NotAGguf(f"{self._path}: a string of {length:,} bytes near byte {self._file.tell():,}; the header is damaged")
        return self._take(length)

    def _unpack(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(value)

    def _take(self, n_bytes: int) -> bytes:
        if n_bytes > self._n_bytes:
            raise NotAGguf(f"{self._path}: truncated or damaged: its header runs past the end of the file")
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise NotAGguf(f"{self._path}: truncated: its header runs past the end of the file; copy or download it again")
        return data
