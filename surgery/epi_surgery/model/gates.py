"""Gates on heads: each head's output is multiplied by a number before the output projection mixes the heads.

A gate of 0 is exactly the removal of the head, as long as the output projection has no use for what it no longer gets:
its bias, where there is one, stays.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from epi_surgery.gqa import LayerHeads
from epi_surgery.model.attention import AttentionLayer

# Takes the layer and the heads' outputs (batch, token, n_head, head_dim); returns what goes on in their place.
OnHeads = Callable[[AttentionLayer, Tensor], Tensor]


@contextmanager
def on_heads(layers: Sequence[AttentionLayer], act: OnHeads) -> Iterator[None]:
    """Pass every layer's head outputs through `act` while the block runs."""
    with ExitStack() as stack:
        for layer in layers:
            handle = layer.o.register_forward_pre_hook(_hook(layer, act))
            stack.callback(handle.remove)
        yield


@contextmanager
def gated(layers: Sequence[AttentionLayer], gates: Sequence[Tensor]) -> Iterator[None]:
    """Multiply head h of layer l by `gates[l][h]`; gates that require gradients get them."""

    def act(layer: AttentionLayer, heads: Tensor) -> Tensor:
        return heads * gates[layer.index].to(heads).unsqueeze(-1)

    with on_heads(layers, act):
        yield


@contextmanager
def masked(layers: Sequence[AttentionLayer], kept: Sequence[LayerHeads]) -> Iterator[None]:
    """Silence every query head that `kept` does not list, while the block runs."""
    with gated(layers, [mask_of(layer, kept[layer.index]) for layer in layers]):
        yield


def mask_of(layer: AttentionLayer, kept: LayerHeads) -> Tensor:
    """1 for the kept query heads and 0 for the others, float32 of shape (n_head,)."""
    mask = torch.zeros(layer.n_head)
    mask[list(kept.query)] = 1.0
    return mask


def _hook(layer: AttentionLayer, act: OnHeads) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (act(layer, layer.by_head(inputs[0])).flatten(-2), *inputs[1:])

    return hook
