"""The `.m` file: a header of integer pairs, then every matrix in a fixed order, row by row.

Little-endian. magic 0x0A00ABCD, header bytes, (key, value) pairs. Unknown keys are a fatal error there, so the file cannot
carry the plan. Rows of q and k stand as in a GGUF of architecture llama; the output matrix is always written, tied or not.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize

from epi_surgery.architecture import Architecture
from epi_surgery.dllama.rotation import Scaling
from epi_surgery.dllama.shape import Heads, NodeShape
from epi_surgery.gguf_file import GgufFile
from epi_surgery.slices import Floats, decoded_rows
from epi_surgery.tensor import Tensor

MAGIC = 0x0A00ABCD
_LLAMA, _SILU = 0xABCD00, 1
_ROPE_LLAMA, _ROPE_LLAMA31 = 0, 2
# VERSION, ARCH_TYPE, DIM, … as the engine's enumeration numbers them.
_KEYS = {"version": 0, "arch": 1, "dim": 2, "hidden": 3, "layers": 4, "heads": 5, "kv": 6, "vocab": 9, "seq": 10, "act": 11}
_KEYS |= {"theta": 12, "weights": 13, "factor": 14, "low": 15, "high": 16, "original": 17, "rope": 18, "head_dim": 19, "eps": 20}
WEIGHTS = {"f32": 0, "q40": 2}
Write = Callable[[bytes], object]


@dataclass(frozen=True)
class Numbers:
    """What the header says besides the shape; `epsilon` is the exponent, 5 or 6."""

    n_context: int
    theta: int
    epsilon: int
    scaling: Scaling | None


def header(arch: Architecture, shape: NodeShape, numbers: Numbers, weights: str) -> bytes:
    """Magic, size and pairs."""
    pairs = {"version": 0, "arch": _LLAMA, "dim": arch.n_embd, "hidden": arch.n_ff[0], "layers": arch.n_layer}
    pairs |= {"heads": shape.n_head, "kv": shape.n_kv, "vocab": arch.n_vocab, "seq": numbers.n_context, "act": _SILU}
    pairs |= {"theta": numbers.theta, "weights": WEIGHTS[weights], "head_dim": arch.head_dim_k, "eps": numbers.epsilon}
    scaling = numbers.scaling
    pairs["rope"] = _ROPE_LLAMA if scaling is None else _ROPE_LLAMA31
    if scaling is not None:
        pairs |= {"factor": scaling.factor, "low": scaling.low, "high": scaling.high, "original": scaling.original}
    body = b"".join(struct.pack("<ii", _KEYS[name], value) for name, value in pairs.items())
    return struct.pack("<ii", MAGIC, 8 + len(body)) + body


def write_weights(model: GgufFile, arch: Architecture, shape: NodeShape, order: list[int], weights: str, write: Write) -> None:
    """Every matrix, in the engine's order; `order` gives the old token id for each new one."""
    tensors, width = model.tensors, arch.head_dim_k
    embedding = tensors["token_embd.weight"]
    _put(_picked(model, embedding, order), "f32", write)
    for layer in range(arch.n_layer):
        at = f"blk.{layer}."
        query, kv = shape.query[layer], shape.kv[layer]
        _put(_head_rows(model, tensors.get(at + "attn_q.weight"), query, width, arch.n_embd), weights, write)
        for part in ("attn_k", "attn_v"):
            _put(_head_rows(model, tensors.get(f"{at}{part}.weight"), kv, width, arch.n_embd), weights, write)
        _put(_head_columns(model, tensors.get(at + "attn_output.weight"), query, width, arch.n_embd), weights, write)
        for part in ("ffn_gate", "ffn_down", "ffn_up"):
            _put(decoded_rows(model, tensors[f"{at}{part}.weight"]), weights, write)
        for part in ("attn_norm", "ffn_norm"):
            _put(_vector(model, tensors.get(f"{at}{part}.weight"), arch.n_embd), "f32", write)
    _put(_vector(model, tensors["output_norm.weight"], arch.n_embd), "f32", write)
    _put(_picked(model, tensors.get("output.weight", embedding), order), weights, write)


def _put(rows: Iterator[Floats], weights: str, write: Write) -> None:
    for chunk in rows:
        if weights == "f32":
            write(np.ascontiguousarray(chunk, dtype="<f4").tobytes())
        else:  # a block of Q40 is byte for byte ggml's Q4_0
            write(np.ascontiguousarray(quantize(chunk, GGMLQuantizationType.Q4_0)).tobytes())


def _picked(model: GgufFile, tensor: Tensor, order: list[int]) -> Iterator[Floats]:
    table = np.concatenate(list(decoded_rows(model, tensor)))
    for start in range(0, len(order), 4096):
        yield table[order[start : start + 4096]]


def _head_rows(model: GgufFile, tensor: Tensor | None, heads: Heads, width: int, n_embd: int) -> Iterator[Floats]:
    zeros = np.zeros((width, n_embd), dtype=np.float32)
    by_head = None if tensor is None else np.concatenate(list(decoded_rows(model, tensor))).reshape(-1, width, n_embd)
    for head in heads:
        yield zeros if head is None or by_head is None else by_head[head]


def _head_columns(model: GgufFile, tensor: Tensor | None, heads: Heads, width: int, n_embd: int) -> Iterator[Floats]:
    if tensor is None:
        yield np.zeros((n_embd, len(heads) * width), dtype=np.float32)
        return
    source = [head or 0 for head in heads]
    zeros = [place for place, head in enumerate(heads) if head is None]
    for rows in decoded_rows(model, tensor):
        taken = rows.reshape(len(rows), -1, width)[:, source]
        taken[:, zeros] = 0
        yield taken.reshape(len(rows), -1)


def _vector(model: GgufFile, tensor: Tensor | None, n_embd: int) -> Iterator[Floats]:
    # A layer that lost its attention has no norm before it either; what follows it are zeros.
    yield from [np.ones((1, n_embd), dtype=np.float32)] if tensor is None else decoded_rows(model, tensor)
