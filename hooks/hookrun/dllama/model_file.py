"""The header of a distributed-llama model file (`.m`): shapes, and the length that the file must have.

Format: int32, little-endian; magic 0x0A00ABCD, header size, then pairs of key and value (src/llm.cpp of distributed-llama 0.16).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import HookrunError

MAGIC = 0x0A00ABCD
ARCHITECTURES = {0xABCD00: "llama", 0xABCD01: "qwen3", 0xABCD02: "qwen3_moe"}
WEIGHT_BYTES = {0: Fraction(4), 1: Fraction(2), 2: Fraction(18, 32), 3: Fraction(34, 32)}
WEIGHT_NAMES = {0: "F32", 1: "F16", 2: "Q40", 3: "Q80"}
_KEYS = {
    1: "architecture", 2: "dim", 3: "hidden_dim", 4: "n_layer", 5: "n_head", 6: "n_head_kv", 7: "n_expert", 9: "vocabulary",
    10: "seq_len", 13: "weight_type", 19: "head_dim", 21: "moe_hidden_dim",
}  # fmt: skip
_REQUIRED = ("architecture", "dim", "hidden_dim", "n_layer", "n_head", "n_head_kv", "vocabulary", "seq_len", "weight_type")
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What the header says; head counts hold for every layer. `expected_bytes` is the length that these shapes make."""

    path: Path
    architecture: str
    dim: int
    hidden_dim: int
    n_layer: int
    n_head: int
    n_head_kv: int
    head_dim: int
    head_dim_given: bool
    vocabulary: int
    seq_len: int
    weight_type: str
    file_bytes: int
    expected_bytes: int

    def to_map(self) -> dict[str, Any]:
        """Return it as the `model` map of a run, in the words of all engines."""
        return {
            "file": self.path.name,
            "name": self.path.stem,
            "file_bytes": self.file_bytes,
            "architecture": self.architecture,
            "quantisation": self.weight_type,
            "n_layer": self.n_layer,
            "n_head": [self.n_head] * self.n_layer,
            "n_head_kv": [self.n_head_kv] * self.n_layer,
            "n_embd": self.dim,
            "n_ff": [self.hidden_dim] * self.n_layer,
            "n_ctx_train": self.seq_len,
        }


def read_model_file(path: Path) -> ModelFile:
    """Read the header; HookrunError where the file is none, or says things that cannot be."""
    header_bytes, values = _pairs(path)
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        raise HookrunError(f"{path}: the header lacks {', '.join(missing)}; convert the model again")
    architecture, weight = ARCHITECTURES.get(values["architecture"]), values["weight_type"]
    if architecture is None or weight not in WEIGHT_BYTES:
        raise HookrunError(f"{path}: architecture or weight type is unknown to distributed-llama 0.16; convert the model again")
    if min(values[name] for name in _REQUIRED if name != "weight_type") < 1:
        raise HookrunError(f"{path}: the header holds a size below 1; convert the model again")
    head_dim = values.get("head_dim", values["dim"] // values["n_head"])
    return ModelFile(
        path=path,
        architecture=architecture,
        **{name: values[name] for name in ("dim", "hidden_dim", "n_layer", "n_head", "n_head_kv", "vocabulary", "seq_len")},
        head_dim=head_dim,
        head_dim_given="head_dim" in values,
        weight_type=WEIGHT_NAMES[weight],
        file_bytes=path.stat().st_size,
        expected_bytes=header_bytes + _weights_bytes({**values, "head_dim": head_dim}, architecture),
    )


def _pairs(path: Path) -> tuple[int, dict[str, int]]:
    try:
        with path.open("rb") as file:
            start = file.read(8)
            magic, size = struct.unpack("<Ii", start) if len(start) == 8 else (0, 0)
            if magic != MAGIC or not 8 <= size <= _LONGEST_HEADER or size % 8:
                raise HookrunError(f"{path} is no distributed-llama model (.m) of version 0.12 or later; convert the model")
            data = file.read(size - 8)
    except OSError as error:
        raise HookrunError(f"cannot read the model {path}: {error.strerror or error}") from None
    if len(data) < size - 8:
        raise HookrunError(f"{path} is cut off within its header; copy it again")
    numbers = struct.unpack(f"<{len(data) // 4}i", data)
    return size, {_KEYS[key]: value for key, value in zip(numbers[::2], numbers[1::2], strict=True) if key in _KEYS}


def _weights_bytes(values: dict[str, int], architecture: str) -> int:
    """Return the length of all weights, in the order of the file: embedding, layers, final norm, output head."""
    dim, vocabulary, head_dim = values["dim"], values["vocabulary"], values["head_dim"]
    q, kv = values["n_head"] * head_dim, values["n_head_kv"] * head_dim
    per_weight = WEIGHT_BYTES[values["weight_type"]]
    layer = per_weight * dim * (2 * q + 2 * kv) + 4 * 2 * dim
    if architecture == "qwen3_moe":
        experts = values.get("n_expert", 0)
        layer += 4 * experts * dim + per_weight * 3 * experts * dim * values.get("moe_hidden_dim", 0)
    else:
        layer += per_weight * 3 * dim * values["hidden_dim"]
    if architecture != "llama":
        layer += 4 * 2 * head_dim
    return int(4 * vocabulary * dim + values["n_layer"] * layer + 4 * dim + per_weight * vocabulary * dim)
