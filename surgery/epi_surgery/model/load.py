"""Load a model from a Hugging Face folder or a GGUF, offline, ready for forwards and gradients."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from epi_surgery.errors import SurgeryError, UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.attention import AttentionLayer, NoAttention, attention_layers, decoder_layers
from epi_surgery.model.gguf_config import config_of
from epi_surgery.model.gguf_weights import ROPE_FACTORS, fill, read_tensor
from epi_surgery.model.offload import Offload, offload_gguf
from epi_surgery.model.source import Source, find_source
from epi_surgery.progress import Bar, bar

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A model with frozen weights in evaluation mode, and the attention of each layer."""

    source: Source
    model: PreTrainedModel
    layers: tuple[AttentionLayer, ...]
    offloaded: bool = False

    @property
    def device(self) -> torch.device:
        """Where token ids have to be."""
        return self.model.get_input_embeddings().weight.device

    @property
    def n_head(self) -> tuple[int, ...]:
        """Query heads per layer; 0 in one without attention."""
        return self._per_layer({layer.index: layer.n_head for layer in self.layers})

    @property
    def n_kv(self) -> tuple[int, ...]:
        """KV heads per layer; 0 in one without attention."""
        return self._per_layer({layer.index: layer.n_kv for layer in self.layers})

    def _per_layer(self, counts: dict[int, int]) -> tuple[int, ...]:
        return tuple(counts.get(index, 0) for index in range(self.model.config.num_hidden_layers))


def load(path: Path, dtype: torch.dtype = torch.float32, offload: Offload | None = None, progress: Bar = bar) -> Loaded:
    """Read the model into memory, or with `offload` spread it over device, memory and disk.

    Raises SurgeryError in one sentence for anything that is not a whole Llama-shaped model.
    """
    source = find_source(path)
    transformers_logging.disable_progress_bar()
    model = _from_gguf(path, dtype, offload, progress) if source.is_gguf else _from_folder(source, dtype, offload)
    model.eval().requires_grad_(False)
    return Loaded(source, model, attention_layers(model), offload is not None)


def _from_folder(source: Source, dtype: torch.dtype, offload: Offload | None) -> PreTrainedModel:
    spread = offload.arguments() if offload is not None else {}
    try:
        return AutoModelForCausalLM.from_pretrained(source.path, dtype=dtype, local_files_only=True, **spread)
    except (OSError, ValueError, RuntimeError) as error:
        raise SurgeryError(f"{source.path}: cannot be loaded: {_first_line(error)}") from error


def _from_gguf(path: Path, dtype: torch.dtype, offload: Offload | None, progress: Bar) -> PreTrainedModel:
    with GgufFile(path) as opened:
        config = config_of(opened)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        _drop_attention(opened, model)
        with progress("loading the model", sum(tensor.n_bytes for tensor in opened.tensors.values())) as advance:
            fill(opened, model, config.head_dim, dtype, advance)
        model.tie_weights()
        _set_groups(model, config.head_dim)
        _restore_rotation(opened, model)
        _check_filled(model, path)
    return model if offload is None else offload_gguf(model, offload)


def _drop_attention(opened: GgufFile, model: nn.Module) -> None:
    for index, layer in enumerate(decoder_layers(model)):
        if not any(name.startswith(f"blk.{index}.attn_") for name in opened.tensors):
            layer.self_attn, layer.input_layernorm = NoAttention(), nn.Identity()


def _set_groups(model: nn.Module, head_dim: int) -> None:
    # A cut model's layers differ from what its configuration says; the attention only asks for this ratio.
    for layer in attention_layers(model):
        layer.module.num_key_value_groups = layer.group


def _restore_rotation(opened: GgufFile, model: PreTrainedModel) -> None:
    """The rotation's frequencies are computed, not stored; Llama 3 divides them by factors that the file holds."""
    rotary = type(model.model.rotary_emb)(model.config)
    if ROPE_FACTORS in opened.tensors:
        rotary.inv_freq /= read_tensor(opened, opened.tensors[ROPE_FACTORS], torch.float32)
    model.model.rotary_emb = rotary


def _check_filled(model: nn.Module, path: Path) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise UnsupportedModel(f"{path}: no tensor in the file gives {name}: not a whole Llama-shaped model")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
