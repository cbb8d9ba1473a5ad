"""A healed GGUF: the cut one with some weights replaced, stored as before wherever that type can be made here."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import CHUNK_BYTES, GgufFile
from epi_surgery.gguf_write import written_bytes
from epi_surgery.metadata import string
from epi_surgery.model.gguf_weights import torch_name
from epi_surgery.output import check_space
from epi_surgery.progress import Bar
from epi_surgery.recipe import Recipe, verbatim
from epi_surgery.tensor import Tensor as Stored
from epi_surgery.tensor import block_size
from epi_surgery.write_model import write_hashed

RECORD = "epi.healing"


def write_healed(part: Path, cut: GgufFile, changed: Mapping[str, Tensor], record: Mapping[str, Any], bar: Bar) -> list[Recipe]:
    """Write the model to `part`; returns the recipes of the tensors that had to change their type."""
    recipes = [_recipe(cut, stored, changed) for stored in cut.tensors.values()]
    entries = [entry for entry in cut.entries.values() if entry.key != RECORD]
    entries.append(string(RECORD, json.dumps(record)))
    check_space(part.parent, written_bytes(entries, recipes, cut.alignment))
    write_hashed(part, entries, recipes, cut.alignment, bar)
    return [recipe for recipe in recipes if recipe.requantised_from is not None]


def _recipe(cut: GgufFile, stored: Stored, changed: Mapping[str, Tensor]) -> Recipe:
    values = changed.get(torch_name(stored.name, str(cut.path))) if stored.name.startswith("blk.") else None
    if values is None:
        return verbatim(cut, stored)
    if tuple(values.shape) != tuple(reversed(stored.shape)):
        raise SurgeryError(f"tensor {stored.name}: healed weights of shape {tuple(values.shape)} do not fit {stored.shape}")
    kind = storable(stored.type, stored.shape[0])
    chunks = partial(_encoded, values, kind)
    return Recipe(stored.name, kind, stored.shape, chunks, stored.type if kind != stored.type else None)


def storable(kind: GGMLQuantizationType, row: int) -> GGMLQuantizationType:
    """The type itself where the gguf package can quantise to it, else Q8_0 (F16 for rows that its blocks do not divide)."""
    for candidate in (kind, GGMLQuantizationType.Q8_0):
        if row % block_size(candidate) == 0 and _can_quantise(candidate):
            return candidate
    return GGMLQuantizationType.F16


def _can_quantise(kind: GGMLQuantizationType) -> bool:
    try:
        quantize(np.zeros((1, block_size(kind)), dtype=np.float32), kind)
    except NotImplementedError:
        return False
    return True


def _encoded(values: Tensor, kind: GGMLQuantizationType) -> Iterator[bytes]:
    step = max(1, CHUNK_BYTES // (4 * values.shape[1]))
    for rows in values.float().cpu().split(step):
        yield np.ascontiguousarray(quantize(rows.contiguous().numpy(), kind)).tobytes()
