"""The tensors and metadata of a cut model, and of its masked twin: the uncut shapes with the same heads set to zero.

What leaves with a head (head dimension `w`, embedding `e`, row length first):

    attn_q.weight       e x (n_head*w)      rows          attn_q.bias      n_head*w     elements
    attn_k, attn_v      e x (n_kv*w)        rows, only with the whole group
    attn_output.weight  (n_head*w) x e      columns       attn_output.bias e            stays
    attn_q/k_norm       w                   stays: the same for every head

Where groups of different size are stored for an engine that pairs heads by position, zero heads fill them up (stored.py);
a layer without attention has none of these tensors, nor attn_norm. Rotary embedding permutes rows only inside a head, so
whole heads need no re-permutation.
"""

import re
from collections.abc import Sequence
from functools import partial

from epi_surgery.architecture import Architecture
from epi_surgery.errors import BadPlan
from epi_surgery.gguf_file import GgufFile
from epi_surgery.gqa import LayerHeads, keep_any
from epi_surgery.metadata import Entry, int32_array, string, uint32
from epi_surgery.recipe import Bytes, Recipe, verbatim
from epi_surgery.slices import (
    blocks_of,
    mask_columns,
    requantise_columns,
    requantise_masked,
    requantised_type,
    take_columns,
    take_rows,
)
from epi_surgery.stored import StoredLayer, exactly, padded
from epi_surgery.tensor import Tensor, block_size

_ATTENTION_ONLY = re.compile(r"blk\.(\d+)\.attn_")
_ATTENTION = re.compile(r"blk\.(\d+)\.attn_(q|k|v|output)\.(weight|bias)$")


def stored_layers(arch: Architecture, kept: Sequence[LayerHeads], pads: bool) -> list[StoredLayer]:
    """How each layer's heads stand in the file; raises BadPlan where the plan has another number of layers."""
    if len(kept) != arch.n_layer:
        raise BadPlan(f"the plan has {len(kept)} layers, the model {arch.n_layer}")
    for layer, heads in enumerate(kept):
        if heads.query and keep_any(heads.query, arch.n_head[layer], arch.n_kv[layer]) != heads:
            raise BadPlan(f"layer {layer}: the KV heads that stay are not those that its query heads read")
    if not pads:
        return [exactly(heads) for heads in kept]
    return [padded(heads, arch.n_head[layer], arch.n_kv[layer], layer == 0) for layer, heads in enumerate(kept)]


def cut_recipes(model: Bytes, arch: Architecture, kept: Sequence[LayerHeads], pads: bool = True) -> list[Recipe]:
    """Every tensor of the cut model, in the original order; raises BadPlan for what llama.cpp cannot load.

    `pads` for a file whose engine pairs heads by position; without it groups of different size stand as they are.
    """
    layers = stored_layers(arch, kept, pads)
    if pads:
        _check_loadable(arch, layers)
    return [recipe for tensor in model.tensors.values() if (recipe := _cut(model, arch, layers, tensor)) is not None]


def masked_recipes(model: Bytes, arch: Architecture, kept: Sequence[LayerHeads]) -> list[Recipe]:
    """Every tensor of the masked twin: only the output projections differ from the original."""
    return [_mask(model, arch, kept, tensor) for tensor in model.tensors.values()]


def cut_entries(model: GgufFile, arch: Architecture, kept: Sequence[LayerHeads]) -> list[Entry]:
    """The metadata of the cut model: new head counts, head dimension spelt out, arch `deci` where layers differ."""
    layers = stored_layers(arch, kept, pads=True)
    name = target_name(arch, layers)
    renamed = [_renamed(entry, arch.name, name) for entry in model.entries.values()]
    entries = {entry.key: entry for entry in renamed}
    query, kv = [len(layer.query) for layer in layers], [len(layer.kv) for layer in layers]
    counts = {f"{name}.attention.head_count": query, f"{name}.attention.head_count_kv": kv}
    for key, values in counts.items():
        entries[key] = int32_array(key, values) if name == "deci" else uint32(key, values[0])
    for key, width in (("key_length", arch.head_dim_k), ("value_length", arch.head_dim_v)):
        # Without these llama.cpp divides the embedding by the new head count and finds another head dimension.
        entries[f"{name}.attention.{key}"] = uint32(f"{name}.attention.{key}", width)
    return list(entries.values())


def target_name(arch: Architecture, layers: Sequence[StoredLayer]) -> str:
    """The architecture the cut model is stored as: its own where all layers agree, else `deci`."""
    same = len({(len(layer.query), len(layer.kv)) for layer in layers}) == 1
    return arch.name if same else "deci"


def _check_loadable(arch: Architecture, layers: Sequence[StoredLayer]) -> None:
    for layer, heads in enumerate(layers):
        if len(heads.query) % max(1, len(heads.kv)) or bool(heads.query) != bool(heads.kv):
            raise BadPlan(f"layer {layer}: {len(heads.query)} query heads on {len(heads.kv)} KV heads would abort llama.cpp")
    if target_name(arch, layers) == "deci" != arch.name:
        _check_deci(arch)


def _check_deci(arch: Architecture) -> None:
    if arch.name != "llama":
        raise BadPlan(f"counts that differ per layer exist only for architecture llama, not {arch.name}; plan with --uniform")
    if arch.head_dim_k != arch.head_dim_v:
        raise BadPlan(
            f"key and value heads of different width ({arch.head_dim_k} and {arch.head_dim_v}) need a plan with --uniform"
        )


def _cut(model: Bytes, arch: Architecture, layers: Sequence[StoredLayer], tensor: Tensor) -> Recipe | None:
    owner = _ATTENTION_ONLY.match(tensor.name)
    if owner is not None and not layers[int(owner.group(1))].query:
        return None
    part = _ATTENTION.match(tensor.name)
    if part is None:
        return verbatim(model, tensor)
    heads = layers[int(part.group(1))]
    kind = part.group(2)
    if kind == "output":
        return _cut_output(model, arch, heads, tensor) if part.group(3) == "weight" else verbatim(model, tensor)
    width = arch.head_dim_v if kind == "v" else arch.head_dim_k
    rows = heads.query if kind == "q" else heads.kv
    shape = (*tensor.shape[:-1], len(rows) * width)
    if shape == tensor.shape and None not in rows:
        return verbatim(model, tensor)
    return Recipe(tensor.name, tensor.type, shape, partial(take_rows, model, tensor, rows, width))


def _cut_output(model: Bytes, arch: Architecture, heads: StoredLayer, tensor: Tensor) -> Recipe:
    width = arch.head_dim_v
    shape = (len(heads.query) * width, tensor.shape[1])
    if shape == tensor.shape and None not in heads.query:
        return verbatim(model, tensor)
    blocks = blocks_of(heads.query, width, block_size(tensor.type))
    if blocks is not None:
        return Recipe(tensor.name, tensor.type, shape, partial(take_columns, model, tensor, blocks))
    chunks = partial(requantise_columns, model, tensor, heads.query, width)
    return Recipe(tensor.name, requantised_type(width), shape, chunks, requantised_from=tensor.type)


def _mask(model: Bytes, arch: Architecture, kept: Sequence[LayerHeads], tensor: Tensor) -> Recipe:
    part = _ATTENTION.match(tensor.name)
    if part is None or part.group(2, 3) != ("output", "weight"):
        return verbatim(model, tensor)
    layer, width = int(part.group(1)), arch.head_dim_v
    query = kept[layer].query
    if len(query) == arch.n_head[layer]:
        return verbatim(model, tensor)
    blocks = blocks_of(query, width, block_size(tensor.type))
    if blocks is not None:
        return Recipe(tensor.name, tensor.type, tensor.shape, partial(mask_columns, model, tensor, blocks))
    chunks = partial(requantise_masked, model, tensor, query, width)
    return Recipe(tensor.name, requantised_type(width), tensor.shape, chunks, requantised_from=tensor.type)


def _renamed(entry: Entry, old: str, new: str) -> Entry:
    if entry.key == "general.architecture":
        return string(entry.key, new)
    if entry.key.startswith(f"{old}."):
        return Entry(new + entry.key[len(old) :], entry.type, entry.raw)
    return entry
