"""Which submodules of a model are its decoder layers, and where within a layer the attention half ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

ATTENTION = ("self_attn", "attn", "attention", "self_attention", "temporal_block", "linear_attn", "mixer")
MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "ff", "fc1")
LISTS = ("layers", "h", "blocks", "block", "decoder_layers", "transformer_blocks")
_NORMS = (
    "pre_feedforward_layernorm",
    "pre_mlp_layernorm",
    "post_attention_layernorm",
    "ln_2",
    "norm_2",
    "norm2",
    "ffn_norm",
    "pre_ff_layernorm",
)
"""Norms that a layer computes first in its feed-forward half, the most telling name first."""
_NORM_AFTER_MLP = ("post_feedforward_layernorm", "post_mlp_layernorm")
_OTHER_TOWERS = ("vision", "visual", "image", "audio", "encoder", "speech")


@dataclass(frozen=True, slots=True)
class Decoder:
    """The layers of a model, in order. `without_attention` are those that hold a feed-forward half only."""

    path: str
    layers: Any
    without_attention: frozenset[int]

    def __len__(self) -> int:
        return len(self.layers)


def find_decoder(module: Any, list_types: tuple[Any, ...]) -> Decoder | None:
    """Return the longest list of decoder layers below a module, or None. Towers for pictures and sound do not count."""
    found: Decoder | None = None
    for path, child in module.named_modules():
        if not path or not isinstance(child, list_types) or any(word in path.lower() for word in _OTHER_TOWERS):
            continue
        if _is_decoder(path, child) and (found is None or len(child) > len(found)):
            found = Decoder(path, child, frozenset(n for n, layer in enumerate(child) if attention_of(layer) is None))
    return found


def attention_of(layer: Any) -> Any | None:
    """Return the attention module of a layer."""
    return _child(layer, ATTENTION)


def mlp_of(layer: Any) -> Any | None:
    """Return the feed-forward module of a layer."""
    return _child(layer, MLP)


def second_half(layer: Any) -> Any | None:
    """Return the module whose call begins the feed-forward half: its norm, or where none is known the MLP itself.

    None where the layer has not both halves. A norm named after attention belongs to the attention half in layers that
    have norms behind both halves (Gemma 2 and 3, OLMo 2).
    """
    if attention_of(layer) is None or mlp_of(layer) is None:
        return None
    norms: Sequence[str] = _NORMS
    if _child(layer, _NORM_AFTER_MLP) is not None:
        norms = _NORMS[:2]
    return _child(layer, norms) or mlp_of(layer)


def _is_decoder(path: str, children: Iterable[Any]) -> bool:
    layers = list(children)
    if not layers:
        return False
    with_both = sum(second_half(layer) is not None for layer in layers)
    if 2 * with_both >= len(layers):
        return True
    named = path.rpartition(".")[2] in LISTS
    return named and len(layers) > 1 and len({type(layer) for layer in layers}) == 1 and bool(layers[0]._modules)


def _child(layer: Any, names: Iterable[str]) -> Any | None:
    children = layer._modules
    return next((children[name] for name in names if children.get(name) is not None), None)
