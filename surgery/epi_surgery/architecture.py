"""The numbers of a Llama-shaped GGUF, and the refusal of every other shape by the name of what stands in the way."""

import re
from dataclasses import dataclass

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gqa import group_size
from epi_surgery.metadata import entry_value

# Loaders of llama.cpp that take heads x head dimension as the width of q and o; qwen2's, for one, insists on the embedding.
SUPPORTED = ("llama", "deci", "qwen3")
# Sliced along with the heads, or (norms over one head's width, the output's bias) left as they are.
_ATTENTION_PARTS = re.compile(
    r"(attn_(q|k|v)\.(weight|bias)|attn_output\.(weight|bias)|attn_norm\.weight|attn_(q|k)_norm\.weight)$"
)
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)$")


@dataclass(frozen=True)
class Architecture:
    """Per-layer tuples have one entry per layer; a layer without attention has 0 query and 0 KV heads."""

    name: str
    n_layer: int
    n_embd: int
    n_vocab: int
    head_dim_k: int
    head_dim_v: int
    n_head: tuple[int, ...]
    n_kv: tuple[int, ...]
    n_ff: tuple[int, ...]


def architecture_of(model: GgufFile) -> Architecture:
    """Read and check the architecture; raises UnsupportedModel naming the tensor or key that cannot be cut."""
    name = model.text("general.architecture")
    _refuse_foreign(model, name)
    n_layer, n_embd = model.number(f"{name}.block_count"), model.number(f"{name}.embedding_length")
    if not 0 < n_layer <= len(model.tensors):
        raise UnsupportedModel(f"{model.path}: {name}.block_count is {n_layer}, with {len(model.tensors)} tensors in the file")
    n_head = _per_layer(model, f"{name}.attention.head_count", n_layer)
    n_kv = _per_layer(model, f"{name}.attention.head_count_kv", n_layer, default=n_head)
    implied = n_embd // n_head[0] if n_head[0] else 0
    head_dim_k = model.number(f"{name}.attention.key_length", implied)
    head_dim_v = model.number(f"{name}.attention.value_length", implied)
    n_ff = _per_layer(model, f"{name}.feed_forward_length", n_layer)
    found = Architecture(name, n_layer, n_embd, _vocabulary(model), head_dim_k, head_dim_v, n_head, n_kv, n_ff)
    for layer in range(n_layer):
        _check_layer(model, found, layer)
    return found


def _refuse_foreign(model: GgufFile, name: str) -> None:
    if model.number("split.count", 1) > 1:
        raise UnsupportedModel(f"{model.path}: one part of a split GGUF; join the parts first with llama-gguf-split --merge")
    for tensor in model.tensors:
        part = _BLOCK.match(tensor)
        kind = part.group(2) if part else ""
        if kind.startswith("ffn_gate_inp") or "_exps" in kind:
            raise UnsupportedModel(f"{model.path}: tensor {tensor}: a mixture of experts, which is not supported")
        if kind.startswith("attn_qkv"):
            raise UnsupportedModel(f"{model.path}: tensor {tensor}: fused query, key and value; convert with separate tensors")
        if kind.startswith(("attn_", "ssm_", "cross_")) and not _ATTENTION_PARTS.match(kind):
            raise UnsupportedModel(f"{model.path}: tensor {tensor}: not a part of Llama-shaped attention")
    if name not in SUPPORTED:
        raise UnsupportedModel(
            f"{model.path}: architecture '{name}' is not one that llama.cpp can load with fewer heads; "
            f"these are: {', '.join(SUPPORTED)}"
        )


def _per_layer(model: GgufFile, key: str, n_layer: int, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    entry = model.entries.get(key)
    value = default if entry is None else entry_value(entry)
    numbers = (value,) * n_layer if isinstance(value, int) else value
    if not isinstance(numbers, tuple) or len(numbers) != n_layer:
        raise UnsupportedModel(f"{model.path}: the key {key} is {'missing' if value is None else 'not one number per layer'}")
    return tuple(int(number) for number in numbers)


def _vocabulary(model: GgufFile) -> int:
    embedding = model.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UnsupportedModel(f"{model.path}: tensor token_embd.weight is missing or not a matrix")
    return embedding.shape[1]


def _check_layer(model: GgufFile, arch: Architecture, layer: int) -> None:
    n_head, n_kv = arch.n_head[layer], arch.n_kv[layer]
    if n_head:
        group_size(n_head, n_kv)
        width_k, width_v = arch.head_dim_k, arch.head_dim_v
        _check_shape(model, f"blk.{layer}.attn_q.weight", (arch.n_embd, n_head * width_k))
        _check_shape(model, f"blk.{layer}.attn_k.weight", (arch.n_embd, n_kv * width_k))
        _check_shape(model, f"blk.{layer}.attn_v.weight", (arch.n_embd, n_kv * width_v))
        _check_shape(model, f"blk.{layer}.attn_output.weight", (n_head * width_v, arch.n_embd))
        for norm in ("attn_q_norm", "attn_k_norm"):
            _check_shape(model, f"blk.{layer}.{norm}.weight", (width_k,), required=False)
    _check_shape(model, f"blk.{layer}.ffn_gate.weight", (arch.n_embd, arch.n_ff[layer]))
    _check_shape(model, f"blk.{layer}.ffn_down.weight", (arch.n_ff[layer], arch.n_embd))


def _check_shape(model: GgufFile, name: str, shape: tuple[int, ...], required: bool = True) -> None:
    tensor = model.tensors.get(name)
    if tensor is None and required:
        raise UnsupportedModel(f"{model.path}: tensor {name} is missing: not a Llama-shaped model")
    if tensor is not None and tensor.shape != shape:
        raise UnsupportedModel(f"{model.path}: tensor {name} has shape {tensor.shape}, a Llama-shaped model would have {shape}")
