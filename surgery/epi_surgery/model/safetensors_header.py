"""The safetensors files of a model folder: whole, complete, and of a shape that can be cut. Headers only, no torch."""

import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from epi_surgery.errors import SurgeryError, UnsupportedModel

INDEX = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100 << 20
_PROJECTION = "model.layers.{layer}.self_attn.{name}_proj.weight"
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
# Parts of a tensor's name that tell of another shape, and what to say.
_FOREIGN = (
    (".experts.", "a mixture of experts, which is not supported"),
    (".block_sparse_moe.", "a mixture of experts, which is not supported"),
    (".qkv_proj.", "fused query, key and value; convert with separate tensors"),
    (".query_key_value.", "fused query, key and value; convert with separate tensors"),
    (".kv_a_proj", "latent attention, which has no heads of its own keys and values"),
)


def weight_files(folder: Path) -> list[Path]:
    """The folder's weight files, those the index names where there is one; raises SurgeryError where any is missing."""
    index = folder / INDEX
    if index.is_file():
        files = [folder / name for name in sorted(set(_weight_map(index).values()))]
        for file in files:
            if not file.is_file():
                raise SurgeryError(f"{file}: missing, though {INDEX} names it; download the folder again")
        return files
    single = folder / "model.safetensors"
    if not single.is_file():
        raise SurgeryError(f"{folder}: no model.safetensors and no {INDEX} there; convert the weights to safetensors")
    return [single]


def check_shards(folder: Path) -> None:
    """Refuse truncated files and models of another shape by the name of the tensor that tells."""
    shapes = _all_shapes(folder)
    _refuse_foreign(folder, shapes)
    layers = {int(found.group(1)) for name in shapes if (found := _LAYER.match(name))}
    if not layers:
        raise UnsupportedModel(f"{folder}: no tensor named model.layers.0.…: not a Llama-shaped model")
    for layer in range(max(layers) + 1):
        for part in "qkvo":
            name = _PROJECTION.format(layer=layer, name=part)
            if name not in shapes:
                raise UnsupportedModel(f"{folder}: tensor {name} is missing: not a whole Llama-shaped model")


def refuse_foreign_weights(folder: Path) -> None:
    """Raise UnsupportedModel for the first tensor that belongs to another kind of attention or feed-forward."""
    _refuse_foreign(folder, _all_shapes(folder))


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Each tensor's shape; raises SurgeryError for a file that is damaged or shorter than its header says."""
    n_bytes = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < size <= min(n_bytes - 8, _MAX_HEADER_BYTES):
            raise SurgeryError(f"{file}: not a safetensors file, or a truncated one; copy or download it again")
        body = _json(stream.read(size), file)
    tensors = {name: entry for name, entry in body.items() if name != "__metadata__"}
    needed = 8 + size + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if needed > n_bytes:
        raise SurgeryError(f"{file}: truncated: it should have {needed:,} bytes and has {n_bytes:,}; copy or download it again")
    return {name: tuple(entry["shape"]) for name, entry in tensors.items()}


def _all_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    return {name: shape for file in weight_files(folder) for name, shape in read_shapes(file).items()}


def _refuse_foreign(folder: Path, shapes: Iterable[str]) -> None:
    for name in shapes:
        for part, sentence in _FOREIGN:
            if part in name:
                raise UnsupportedModel(f"{folder}: tensor {name}: {sentence}")


def _weight_map(index: Path) -> dict[str, str]:
    body = _json(index.read_bytes(), index)
    found = body.get("weight_map")
    if not isinstance(found, dict) or not found:
        raise SurgeryError(f"{index}: has no 'weight_map'; download the folder again")
    return {str(name): Path(str(file)).name for name, file in found.items()}


def _json(data: bytes, file: Path) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise SurgeryError(f"{file}: its header is no valid JSON; copy or download it again") from error
    if not isinstance(body, dict):
        raise SurgeryError(f"{file}: its header is not a JSON object; copy or download it again")
    return body
