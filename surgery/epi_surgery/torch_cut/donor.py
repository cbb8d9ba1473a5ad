"""A donor's tensors one at a time, under transformers' names, whatever it is stored as."""

from collections.abc import Iterator

import torch
from safetensors import safe_open
from torch import Tensor

from epi_surgery.gguf_file import GgufFile
from epi_surgery.model.gguf_weights import ROPE_FACTORS, halves, read_tensor, torch_name
from epi_surgery.open_model import Model
from epi_surgery.weight_folder import WeightFolder


def donor_tensors(model: Model, head_dim: int, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor; a GGUF's are decoded to `dtype`, a folder's are as they stand."""
    return _from_folder(model) if isinstance(model, WeightFolder) else _from_gguf(model, head_dim, dtype)


def _from_folder(model: WeightFolder) -> Iterator[tuple[str, Tensor]]:
    for file in model.files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 -- not a mapping
                yield name, opened.get_tensor(name)


def _from_gguf(model: GgufFile, head_dim: int, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    reordered = model.text("general.architecture") in ("llama", "deci")
    for stored in model.tensors.values():
        if stored.name == ROPE_FACTORS:
            continue
        name = torch_name(stored.name, str(model.path))
        values = read_tensor(model, stored, dtype)
        yield (
            name,
            halves(values, head_dim) if (reordered and ".q_proj." in name) or (reordered and ".k_proj." in name) else values,
        )
