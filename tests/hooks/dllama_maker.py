"""Writes distributed-llama model files: the header by the format's own words, weights as a hole of the right length."""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC = 0x0A00ABCD
LLAMA, QWEN3, QWEN3_MOE = 0xABCD00, 0xABCD01, 0xABCD02
F32, F16, Q40, Q80 = 0, 1, 2, 3
KEYS = {
    "version": 0, "arch": 1, "dim": 2, "hidden_dim": 3, "n_layers": 4, "n_heads": 5, "n_kv_heads": 6, "n_experts": 7,
    "n_active_experts": 8, "vocab_size": 9, "seq_len": 10, "weight_type": 13, "head_dim": 19, "moe_hidden_dim": 21,
}  # fmt: skip
TINY = {
    "version": 0, "arch": LLAMA, "dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2,
    "vocab_size": 128, "seq_len": 256, "weight_type": Q40,
}  # fmt: skip


def header(**changes: int | None) -> bytes:
    """Bytes of a header of the tiny model; a change to None takes the key away."""
    values = {name: value for name, value in (TINY | changes).items() if value is not None}
    pairs = b"".join(struct.pack("<ii", KEYS[name], value) for name, value in values.items())
    return struct.pack("<Ii", MAGIC, 8 + len(pairs)) + pairs


def tiny_bytes() -> int:
    """Length of the tiny model, counted tensor by tensor as the format lists them."""
    q40 = 18 / 32
    layer = q40 * (64 * 64 + 32 * 64 + 32 * 64 + 64 * 64) + q40 * 3 * 64 * 128 + 4 * 2 * 64
    return int(len(header()) + 4 * 128 * 64 + 2 * layer + 4 * 64 + q40 * 128 * 64)


def write_model(path: Path, length: int | None = None, **changes: int | None) -> Path:
    """Write a model of `length` bytes in all (those of the tiny one)."""
    start = header(**changes)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(tiny_bytes() if length is None else length)
    return path
