"""Writes GGUF files by the format's own document, for tests that want a wrong one."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(thing: Any) -> tuple[int, bytes]:
    """Type number and bytes of a metadata value."""
    if isinstance(thing, bool):
        return BOOL, struct.pack("<?", thing)
    if isinstance(thing, int):
        return UINT32, struct.pack("<I", thing)
    if isinstance(thing, float):
        return FLOAT32, struct.pack("<f", thing)
    if isinstance(thing, str):
        return STRING, string(thing)
    kinds = {value(item)[0] for item in thing} or {INT32}
    (kind,) = kinds
    return ARRAY, struct.pack("<IQ", kind, len(thing)) + b"".join(value(item)[1] for item in thing)


def gguf(metadata: Mapping[str, Any], tensors: Sequence[tuple[str, tuple[int, ...], int]] = (), version: int = 3) -> bytes:
    """Bytes of a file's header; tensors are (name, shape, type number)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, thing in metadata.items():
        kind, data = value(thing)
        out += string(key) + struct.pack("<I", kind) + data
    for name, shape, kind in tensors:
        out += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, 0)
    return out


def llama(**changes: Any) -> dict[str, Any]:
    """Metadata of a small, sound Llama; a change to None takes the key away, `__` stands for a dot."""
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.block_count": 3,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
    }
    for key, new in changes.items():
        metadata[key.replace("__", ".")] = new
    return {key: thing for key, thing in metadata.items() if thing is not None}


def tiny_deci(heads: Sequence[int], heads_kv: Sequence[int], *, seed: int = 1) -> bytes:
    """A whole file that the engine runs: random weights, no vocabulary, heads per layer; a layer of 0 heads has no attention."""
    embd, ff, head_dim, vocabulary = 64, 96, 16, 128
    metadata = {
        "general.architecture": "deci",
        "general.alignment": 32,
        "deci.block_count": len(heads),
        "deci.context_length": 256,
        "deci.embedding_length": embd,
        "deci.feed_forward_length": ff,
        "deci.vocab_size": vocabulary,
        "deci.attention.head_count": list(heads),
        "deci.attention.head_count_kv": list(heads_kv),
        "deci.attention.key_length": head_dim,
        "deci.attention.value_length": head_dim,
        "deci.attention.layer_norm_rms_epsilon": 1e-5,
        "deci.rope.dimension_count": head_dim,
        "tokenizer.ggml.model": "no_vocab",
    }
    shapes: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (embd, vocabulary)), ("output_norm.weight", (embd,))]
    for layer, (n_head, n_head_kv) in enumerate(zip(heads, heads_kv, strict=True)):
        shapes += [
            (f"blk.{layer}.{name}.weight", shape) for name, shape in _layer(embd, ff, n_head * head_dim, n_head_kv * head_dim)
        ]
    return _with_weights(metadata, shapes, random.Random(seed))


def _layer(embd: int, ff: int, q: int, kv: int) -> list[tuple[str, tuple[int, ...]]]:
    attention = [
        ("attn_norm", (embd,)),
        ("attn_q", (embd, q)),
        ("attn_k", (embd, kv)),
        ("attn_v", (embd, kv)),
        ("attn_output", (q, embd)),
    ]
    return [
        *(attention if q else []),
        ("ffn_norm", (embd,)),
        ("ffn_gate", (embd, ff)),
        ("ffn_up", (embd, ff)),
        ("ffn_down", (ff, embd)),
    ]


def _with_weights(metadata: Mapping[str, Any], shapes: Sequence[tuple[str, tuple[int, ...]]], numbers: random.Random) -> bytes:
    offset, header, weights = 0, b"", b""
    for name, shape in shapes:
        header += (
            string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, offset)
        )
        values = array("f", [1.0 if "norm" in name else numbers.gauss(0, 0.1) for _ in range(math.prod(shape))])
        data = values.tobytes() + bytes(-values.itemsize * len(values) % 32)
        weights += data
        offset += len(data)
    start = gguf(metadata)
    start = start[:8] + struct.pack("<Q", len(shapes)) + start[16:] + header
    return start + bytes(-len(start) % 32) + weights
