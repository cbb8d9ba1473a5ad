"""The unpruned model and its cuts, sharing every weight that is not attention."""

import copy
import random
from collections.abc import Sequence
from typing import Any

from epi_surgery.aim import Aim
from epi_surgery.bench.expanding import ExpandingAttention
from epi_surgery.bench.shapes import Shape
from epi_surgery.choose import choose
from epi_surgery.gqa import LayerHeads, all_heads
from epi_surgery.model.attention import attention_layers
from epi_surgery.rules import Rules
from epi_surgery.torch_cut.cutting import kept_groups, replacement
from epi_surgery.torch_cut.places import groups_of
from epi_surgery.torch_cut.projection import use_projections

NAMES = ("unpruned", "ragged", "groups", "expanding")


def variants(model: Any, shape: Shape, share: float, seed: int) -> dict[str, Any]:
    """The unpruned model in the same module, ragged and whole-group cuts of it, and the ragged cut as the report ran it."""
    ragged, groups = (kept_heads(shape, share, layout, seed) for layout in ("ragged", "groups"))
    everything = [all_heads(shape.n_head, shape.n_kv)] * shape.n_layer
    return {
        "unpruned": _with(model, everything),
        "ragged": _with(model, ragged),
        "groups": _with(model, groups),
        "expanding": _expanding(model, ragged),
    }


def kept_heads(shape: Shape, share: float, layout: str, seed: int) -> tuple[LayerHeads, ...]:
    """Heads chosen at random, the same share of every layer."""
    source = random.Random(seed)
    scores = [[source.random() for _ in range(shape.n_head)] for _ in range(shape.n_layer)]
    counts = [shape.n_head] * shape.n_layer, [shape.n_kv] * shape.n_layer
    return choose(scores, *counts, Aim(share, layout, "layer"), Rules("torch", shape.head_dim))


def _shell(model: Any) -> Any:
    """A copy that shares all weights."""
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})


def _with(model: Any, kept: Sequence[LayerHeads]) -> Any:
    shell = _shell(model)
    layers = attention_layers(model)
    for layer, groups in zip(layers, kept_groups(layers, kept), strict=True):
        shell.model.layers[layer.index].self_attn = replacement(layer, groups)
    use_projections(shell)
    return shell


def _expanding(model: Any, kept: Sequence[LayerHeads]) -> Any:
    shell = _shell(model)
    for layer, heads in zip(attention_layers(model), kept, strict=True):
        groups = groups_of(heads, layer.n_head, layer.n_kv)
        shell.model.layers[layer.index].self_attn = ExpandingAttention(layer, groups)
    use_projections(shell)
    return shell
