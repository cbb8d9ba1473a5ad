"""A GGUF, cut or not, as the model that transformers would have built for it."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.attention import NoAttention, attention_layers, decoder_layers
from epi_surgery.model.gguf_config import config_of
from epi_surgery.model.gguf_weights import ROPE_FACTORS, fill, read_tensor
from epi_surgery.model.offload import Offload, Spreading, in_memory
from epi_surgery.progress import Bar


def read_gguf_model(path: Path, dtype: torch.dtype, offload: Offload | None, bar: Bar) -> PreTrainedModel:
    """Decode the weights one by one, each straight to its place; raises UnsupportedModel naming the tensor in the way."""
    with GgufFile(path) as opened:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config_of(opened), dtype=dtype)
        _drop_attention(opened, model)
        spreading = Spreading(model, offload) if offload is not None else None
        store = in_memory if spreading is None else spreading.store
        with bar("loading the model", sum(tensor.n_bytes for tensor in opened.tensors.values())) as advance:
            filled = fill(opened, model, dtype, store, advance)
        model.tie_weights()
        _check_filled(model, filled, path)
        _set_groups(model)
        _restore_rotation(opened, model)
    return model if spreading is None else spreading.finish()


def _drop_attention(opened: GgufFile, model: nn.Module) -> None:
    for index, layer in enumerate(decoder_layers(model)):
        if not any(name.startswith(f"blk.{index}.attn_") for name in opened.tensors):
            layer.self_attn, layer.input_layernorm = NoAttention(index), nn.Identity()


def _check_filled(model: nn.Module, filled: Iterable[str], path: Path) -> None:
    missing = {name for name, _ in model.named_parameters()} - set(filled)
    if missing:
        raise UnsupportedModel(f"{path}: no tensor in the file gives {min(missing)}: not a whole Llama-shaped model")


def _set_groups(model: nn.Module) -> None:
    # A cut model's layers differ from what its configuration says; the attention only asks for this ratio.
    for layer in attention_layers(model):
        layer.module.num_key_value_groups = layer.group


def _restore_rotation(opened: GgufFile, model: PreTrainedModel) -> None:
    """The rotation's frequencies are computed, not stored; Llama 3 divides them by factors that the file holds."""
    rotary = type(model.model.rotary_emb)(model.config)
    if ROPE_FACTORS in opened.tensors:
        rotary.inv_freq /= read_tensor(opened, opened.tensors[ROPE_FACTORS], torch.float32)
    model.model.rotary_emb = rotary
