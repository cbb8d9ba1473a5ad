"""Load a model from a Hugging Face folder or a GGUF, offline, ready for forwards and gradients."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from epi_surgery.errors import SurgeryError
from epi_surgery.model.attention import AttentionLayer, attention_layers
from epi_surgery.model.gguf_model import read_gguf_model
from epi_surgery.model.offload import Offload, check_offload
from epi_surgery.model.source import Source, find_source
from epi_surgery.progress import Bar, bar

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A model with frozen weights in evaluation mode, and the attention of each layer that has any.

    `device` is where token ids have to be. An `offloaded` model's weights are only there while a layer is computed.
    """

    source: Source
    model: PreTrainedModel
    layers: tuple[AttentionLayer, ...]
    device: torch.device
    offloaded: bool = False

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
    if offload is not None:
        check_offload(offload)
    transformers_logging.disable_progress_bar()
    model = read_gguf_model(path, dtype, offload, progress) if source.is_gguf else _from_folder(source, dtype, offload)
    model.eval().requires_grad_(False)
    device = torch.device("cpu" if offload is None else offload.device)
    return Loaded(source, model, attention_layers(model), device, offload is not None)


def check_all_attend(loaded: Loaded) -> None:
    """Raise SurgeryError where a layer has no attention left, so that heads cannot be counted off by layer."""
    if 0 in loaded.n_head:
        layer = loaded.n_head.index(0)
        raise SurgeryError(f"{loaded.source.path}: layer {layer} has no attention to rank; rank the original model")


def _from_folder(source: Source, dtype: torch.dtype, offload: Offload | None) -> PreTrainedModel:
    spread = offload.arguments() if offload is not None else {}
    try:
        return AutoModelForCausalLM.from_pretrained(source.path, dtype=dtype, local_files_only=True, **spread)
    except (OSError, ValueError, RuntimeError) as error:
        raise SurgeryError(f"{source.path}: cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
