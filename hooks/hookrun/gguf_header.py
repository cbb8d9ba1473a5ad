"""Reads the header of a GGUF file: metadata and tensor list, no weights and no other library.

Format: GGUF v2 and v3, little-endian, as the ggml project documents it (docs/gguf.md). Read before an engine sees the file,
because an engine answers some impossible shapes by ending the process.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import HookrunError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LONGEST_ARRAY = 1 << 14
"""Longer arrays (vocabularies, merges) are stepped over and stand as None in the metadata."""

Value = int | float | bool | str | tuple["Value", ...] | None

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
    14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, shape (fastest dimension first) and type of one tensor."""

    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before the weights."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]

    def quantisation(self) -> str:
        """Return the type that holds most of the weights."""
        weights: Counter[str] = Counter()
        for tensor in self.tensors:
            weights[tensor.type] += tensor.elements
        return weights.most_common(1)[0][0] if weights else "none"


def read_header(path: Path) -> GgufHeader:
    """Read a file's header; HookrunError says why it is no GGUF file that can be read."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size < 24 or file.read(4) != MAGIC:
                raise HookrunError(f"{path} is not a GGUF file; convert the model to GGUF first")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path).header()
    except OSError as error:
        raise HookrunError(f"cannot read the model {path}: {error.strerror or error}") from None


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data, self._path, self._at = data, path, len(MAGIC)

    def header(self) -> GgufHeader:
        try:
            return self._header()
        except (struct.error, UnicodeDecodeError):
            raise HookrunError(f"{self._path} is a damaged or cut-off GGUF file (cut at byte {self._at})") from None

    def _header(self) -> GgufHeader:
        version = self._number("I")
        if version not in VERSIONS:
            raise HookrunError(f"{self._path} is GGUF version {version}; versions 2 and 3 (little-endian) can be read")
        tensors, pairs = self._number("Q"), self._number("Q")
        metadata = {}
        for _ in range(pairs):
            key = self._string()
            metadata[key] = self._value(self._number("I"))
        return GgufHeader(version, metadata, tuple(self._tensor() for _ in range(tensors)))

    def _tensor(self) -> Tensor:
        name = self._string()
        shape = tuple(self._number("Q") for _ in range(self._number("I")))
        kind, _offset = self._number("I"), self._number("Q")
        return Tensor(name, shape, _TENSOR_TYPES.get(kind, f"type{kind}"))

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        return self._scalar(kind)

    def _array(self) -> Value:
        kind, count = self._number("I"), self._number("Q")
        if count <= LONGEST_ARRAY:
            return tuple(self._value(kind) for _ in range(count))
        if kind in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[kind]))
        else:
            for _ in range(count):
                self._skip_value(kind)
        return None

    def _skip_value(self, kind: int) -> None:
        if kind == _STRING:
            self._skip(self._number("Q"))
        else:
            self._value(kind)

    def _scalar(self, kind: int) -> int | float | bool:
        code = _SCALARS.get(kind)
        if code is None:
            raise HookrunError(f"{self._path} has metadata of unknown type {kind} at byte {self._at}; it is damaged or too new")
        return self._number(code)

    def _number(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self._data, self._at)
        self._at += struct.calcsize("<" + code)
        return value  # type: ignore[no-any-return]

    def _string(self) -> str:
        length, begin = self._number("Q"), self._at
        self._skip(length)
        return self._data[begin : begin + length].decode()

    def _skip(self, count: int) -> None:
        if self._at + count > len(self._data):
            raise struct.error("past the end")
        self._at += count
