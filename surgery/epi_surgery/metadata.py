"""One key of a GGUF's metadata: raw bytes as they stand in the file, decoded and encoded on demand."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gguf import GGUFValueType

SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}

Value = int | float | bool | str | tuple[int | float | bool, ...]


@dataclass(frozen=True)
class Entry:
    """A key with its value's type and the bytes after the type tag (an array's begin with item type and count)."""

    key: str
    type: GGUFValueType
    raw: bytes


def entry_value(entry: Entry) -> Value | None:
    """The decoded value; None for an array of strings, which nobody here needs."""
    if entry.type == GGUFValueType.STRING:
        return entry.raw[8:].decode("utf-8", errors="replace")
    if entry.type == GGUFValueType.ARRAY:
        return _array_value(entry.raw)
    (value,) = struct.unpack(SCALARS[entry.type], entry.raw)
    return value  # type: ignore[no-any-return]


def array_length(entry: Entry) -> int | None:
    """The number of items of an array, None for anything else."""
    if entry.type != GGUFValueType.ARRAY:
        return None
    _, count = struct.unpack_from("<IQ", entry.raw)
    return int(count)


def uint32(key: str, value: int) -> Entry:
    """A key holding one unsigned number."""
    return Entry(key, GGUFValueType.UINT32, struct.pack("<I", value))


def string(key: str, value: str) -> Entry:
    """A key holding text."""
    data = value.encode()
    return Entry(key, GGUFValueType.STRING, struct.pack("<Q", len(data)) + data)


def int32_array(key: str, values: Sequence[int]) -> Entry:
    """A key holding one number per layer, the form in which llama.cpp takes head counts that differ."""
    head = struct.pack("<IQ", GGUFValueType.INT32, len(values))
    return Entry(key, GGUFValueType.ARRAY, head + struct.pack(f"<{len(values)}i", *values))


def _array_value(raw: bytes) -> tuple[int | float | bool, ...] | None:
    item, count = struct.unpack_from("<IQ", raw)
    if item == GGUFValueType.STRING:
        return None
    return struct.unpack_from(f"<{count}{SCALARS[GGUFValueType(item)][1]}", raw, 12)
