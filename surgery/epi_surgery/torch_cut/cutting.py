"""Cut a loaded model in place, layer by layer: each self_attn gives way to one with smaller projections."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gqa import LayerHeads, all_heads
from epi_surgery.model.attention import AttentionLayer, NoAttention
from epi_surgery.torch_cut.attention import GroupedAttention
from epi_surgery.torch_cut.places import Groups, Places, arrange, groups_of
from epi_surgery.torch_cut.projection import Projection, projection, use_projections

# Families whose attention is q, k, v, o with rotation of whole heads or none, and at most norms over one head.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")


def cut_model(model: Any, layers: Sequence[AttentionLayer], kept: Sequence[Groups]) -> None:
    """Replace the attention of every layer; with all heads kept it becomes the fair baseline of the same module."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise UnsupportedModel(f"model type '{kind}' cannot be cut in PyTorch; these can: {', '.join(FAMILIES)}")
    for layer, groups in zip(layers, kept, strict=True):
        model.model.layers[layer.index].self_attn = replacement(layer, groups)
    use_projections(model)


def kept_groups(layers: Sequence[AttentionLayer], kept: Sequence[LayerHeads]) -> list[Groups]:
    """The groups of a plan's layers."""
    return [groups_of(heads, layer.n_head, layer.n_kv) for layer, heads in zip(layers, kept, strict=True)]


def uncut(layers: Sequence[AttentionLayer]) -> list[Groups]:
    """All heads of every layer."""
    return kept_groups(layers, [all_heads(layer.n_head, layer.n_kv) for layer in layers])


def replacement(layer: AttentionLayer, groups: Groups) -> nn.Module:
    """The attention of one layer with only these heads, numbered as its weights have them."""
    if not groups:
        return NoAttention(layer.index)
    places = arrange(groups)
    width = layer.head_dim
    picked = [rows_of(layer.k, places.kv, width), rows_of(layer.q, places.query, width), rows_of(layer.v, places.kv, width)]
    weight = torch.cat([matrix for matrix, _ in picked])
    biases = [bias for _, bias in picked if bias is not None]
    kqv = linear(weight, torch.cat(biases) if biases else None)
    columns = layer.o.weight.unflatten(1, (-1, width))[:, list(places.query)].flatten(1).contiguous()
    rotate = bool(getattr(layer.module, "use_rope", True))
    return GroupedAttention(places, kqv, linear(columns, layer.o.bias), _norms(layer.module), layer.index, rotate)


def rows_of(projection: nn.Linear, heads: Sequence[int], width: int) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the given heads' outputs."""
    weight = projection.weight.unflatten(0, (-1, width))[list(heads)].flatten(0, 1)
    bias = None if projection.bias is None else projection.bias.unflatten(0, (-1, width))[list(heads)].flatten()
    return weight, bias


def linear(weight: Tensor, bias: Tensor | None) -> Projection:
    """A projection with these very tensors, frozen."""
    return projection(_frozen(weight), None if bias is None else _frozen(bias))


def places_of(module: nn.Module) -> Places | None:
    """How a cut layer's heads stand; None for one without attention."""
    return module.places if isinstance(module, GroupedAttention) else None


def _norms(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    query, key = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
    return (query, key) if query is not None and key is not None else None


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
