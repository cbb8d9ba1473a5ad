"""Probe models: one layer standing several times in a row, its weights physically repeated in the file.

An engine does to a probe what it does to the original plus (repeat - 1) times the work of that layer, so the difference of
two energies is the layer's own, whatever the engine lets one see of its inside.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gguf import GGUFValueType

from epi_surgery.architecture import Architecture
from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.metadata import SCALARS, Entry, array_length, uint32
from epi_surgery.recipe import Recipe, verbatim

_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class Probe:
    """Layer `layer` (from 0) is to stand `repeat` times."""

    layer: int
    repeat: int


def layer_order(n_layer: int, probe: Probe) -> list[int]:
    """For each layer of the probe model the original layer it is a copy of; raises SurgeryError where there is none."""
    if not 0 <= probe.layer < n_layer:
        raise SurgeryError(f"layer {probe.layer} does not exist: the model's layers are 0 to {n_layer - 1}")
    if probe.repeat < 2:
        raise SurgeryError(f"a layer repeated {probe.repeat} times tells nothing; --repeat must be 2 or more")
    return [*range(probe.layer), *[probe.layer] * probe.repeat, *range(probe.layer + 1, n_layer)]


def probe_recipes(model: GgufFile, order: Sequence[int]) -> list[Recipe]:
    """Every tensor of the probe model: those outside layers first, then layer by layer."""
    outside = [verbatim(model, tensor) for tensor in model.tensors.values() if not _LAYER.match(tensor.name)]
    layers: dict[int, list[str]] = {}
    for name in model.tensors:
        if part := _LAYER.match(name):
            layers.setdefault(int(part.group(1)), []).append(name)
    copies = [
        verbatim(model, model.tensors[name], _LAYER.sub(f"blk.{position}.", name, count=1))
        for position, source in enumerate(order)
        for name in layers[source]
    ]
    return outside + copies


def probe_entries(model: GgufFile, arch: Architecture, order: Sequence[int]) -> list[Entry]:
    """The metadata of the probe model: the new number of layers, and per-layer arrays in the new order."""
    key = f"{arch.name}.block_count"
    kept = [entry for entry in model.entries.values() if not entry.key.startswith("epi.")]
    return [uint32(key, len(order)) if entry.key == key else _reordered(entry, arch, order) for entry in kept]


def _reordered(entry: Entry, arch: Architecture, order: Sequence[int]) -> Entry:
    if not entry.key.startswith(f"{arch.name}.") or array_length(entry) != arch.n_layer:
        return entry
    (item,) = struct.unpack_from("<I", entry.raw)
    if item == GGUFValueType.STRING:
        return entry
    width = struct.calcsize(SCALARS[GGUFValueType(item)])
    items = [entry.raw[12 + width * layer : 12 + width * (layer + 1)] for layer in order]
    return Entry(entry.key, entry.type, struct.pack("<IQ", item, len(order)) + b"".join(items))
