"""Weights from a GGUF into a PyTorch model, one tensor at a time: decoded rows go straight into their final place."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.offload import Store
from epi_surgery.slices import decoded_rows
from epi_surgery.tensor import Tensor as Stored

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FACTORS = "rope_freqs.weight"
# llama.cpp's converter reorders these rows so that rotation pairs neighbours instead of halves; other architectures don't.
_REORDERED = ("llama", "deci")


def fill(model: GgufFile, module: PreTrainedModel, dtype: torch.dtype, store: Store, advance: Callable[[int], None]) -> set[str]:
    """Give the parameters of `module` (built on the meta device) their tensors; returns the names of those that got one.

    Raises UnsupportedModel naming a tensor that has no place or does not fit its place.
    `store` says what the module holds for each: the values themselves, or only their shape where they went to disk.
    """
    head_dim = module.config.head_dim
    arch, filled = model.text("general.architecture"), set()
    for stored in model.tensors.values():
        advance(stored.n_bytes)
        if stored.name == ROPE_FACTORS:
            continue
        name = torch_name(stored.name, str(model.path))
        values = read_tensor(model, stored, dtype)
        if arch in _REORDERED and name.rpartition(".")[0].endswith(("q_proj", "k_proj")):
            values = halves(values, head_dim)
        place(module, name, store(name, values), f"{model.path}: tensor {stored.name}")
        filled.add(name)
    return filled


def torch_name(name: str, where: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; raises UnsupportedModel for a foreign tensor."""
    parts = name.split(".")
    if len(parts) == 2 and parts[0] in _TOP:
        return f"{_TOP[parts[0]]}.{parts[1]}"
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK:
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.{parts[3]}"
    raise UnsupportedModel(f"{where}: tensor {name}: not a part of a Llama-shaped model ({_guess(name)})")


def read_tensor(model: GgufFile, stored: Stored, dtype: torch.dtype) -> Tensor:
    """The decoded tensor in PyTorch's order of dimensions."""
    values = torch.empty((stored.n_rows, stored.shape[0]), dtype=dtype)
    row = 0
    for rows in decoded_rows(model, stored):
        # Rows that were float32 already are a view of the bytes read, which torch will not take.
        values[row : row + len(rows)] = torch.from_numpy(rows if rows.flags.writeable else rows.copy())
        row += len(rows)
    return values.reshape(tuple(reversed(stored.shape)))


def halves(values: Tensor, head_dim: int) -> Tensor:
    """Rows of each head from llama.cpp's order (0, d/2, 1, d/2+1, …) back to transformers' (first half, second half)."""
    return values.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).reshape(values.shape)


def place(module: nn.Module, name: str, values: Tensor, where: str) -> None:
    """Make `values` the parameter called `name`; attention may have any number of heads, all else must fit."""
    path, _, leaf = name.rpartition(".")
    try:
        owner = module.get_submodule(path)
    except AttributeError:
        raise UnsupportedModel(f"{where}: the architecture has no such part ({name})") from None
    expected = getattr(owner, leaf, None)
    flexible = isinstance(owner, nn.Linear) and "self_attn" in path
    if expected is not None and not flexible and expected.shape != values.shape:
        raise UnsupportedModel(f"{where} has shape {tuple(values.shape)}, where {tuple(expected.shape)} is expected")
    owner.register_parameter(leaf, nn.Parameter(values, requires_grad=False))
    if isinstance(owner, nn.Linear) and leaf == "weight":
        owner.out_features, owner.in_features = values.shape


def _guess(name: str) -> str:
    if "_exps" in name or "ffn_gate_inp" in name:
        return "a mixture of experts, which is not supported"
    return "fused query, key and value" if "attn_qkv" in name else "nothing here knows it"
