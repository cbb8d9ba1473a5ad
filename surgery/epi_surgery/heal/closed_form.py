"""Heal a cut model layer by layer, without gradients: the output projections are re-solved towards the uncut model.

Both models see the same tokens. In each layer the cut model's attention, with all layers before it healed already, is
asked to bring the residual stream to where the uncut model's stands after its attention. An uncut model healed by itself
stays as it is, since nothing is missing anywhere: what healing gains is not learnt from the text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from epi_surgery.heal.ridge import Normal
from epi_surgery.model.attention import decoder_layers
from epi_surgery.model.load import Loaded
from epi_surgery.model.stepwise import embed, run_attention, run_feed_forward

# Windows that pass a layer together.
_BATCH = 8
ATTENTION, FEED_FORWARD = "self_attn.o_proj", "mlp.down_proj"
Half = Callable[[Loaded, int, Tensor], Tensor]


@dataclass(frozen=True)
class Healing:
    """`strength` pulls towards the weights as they are; `feed_forward` re-solves the down projections too."""

    strength: float = 0.01
    feed_forward: bool = False


@torch.no_grad()
def heal(dense: Loaded, cut: Loaded, windows: Tensor, healing: Healing, advance: Callable[[int], None]) -> dict[str, Tensor]:
    """Change the cut model's weights in place; returns the changed ones by name. `advance` is called once per layer.

    A cut that is only a mask works too: the inputs of silenced heads are zero, and their columns stay as they are.
    """
    halves: list[tuple[str, Half, bool]] = [
        (ATTENTION, run_attention, True),
        (FEED_FORWARD, run_feed_forward, healing.feed_forward),
    ]
    whole, less = (list(embed(loaded, windows).split(_BATCH)) for loaded in (dense, cut))
    changed: dict[str, Tensor] = {}
    for index, layer in enumerate(decoder_layers(cut.model)):
        for part, half, wanted in halves:
            whole = [half(dense, index, hidden) for hidden in whole]
            linear = _linear(layer, part) if wanted else None
            if linear is None:
                less = [half(cut, index, hidden) for hidden in less]
            else:
                less = _heal_half(cut, index, linear, half, whole, less, healing.strength)
                changed[f"model.layers.{index}.{part}.weight"] = linear.weight.data
        advance(1)
    return changed


def _heal_half(
    cut: Loaded, index: int, linear: nn.Linear, half: Half, whole: list[Tensor], less: list[Tensor], strength: float
) -> list[Tensor]:
    """Re-solve one projection; returns the streams behind it as the new weights leave them."""
    normal, inputs, behind = Normal(linear), [], []
    for target, hidden in zip(whole, less, strict=True):
        with _inputs_of(linear) as seen:
            behind.append(half(cut, index, hidden))
        inputs += seen
        normal.add(seen[0], target.to(behind[-1]) - behind[-1])
    healed = normal.healed(strength)
    change = healed - linear.weight
    linear.weight.data.copy_(healed)
    return [stream + rows @ change.T for stream, rows in zip(behind, inputs, strict=True)]


def _linear(layer: nn.Module, part: str) -> nn.Linear | None:
    """The projection; None in a layer whose attention is gone."""
    owner, _, name = part.partition(".")
    found: nn.Linear | None = getattr(getattr(layer, owner), name, None)
    return found


@contextmanager
def _inputs_of(linear: nn.Linear) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
