"""A randomly drawn layer computed again within a token, so that layers of equal shape can be told apart by their energy.

The repetition starts from the same cache as the ordinary computation, does the same work, and its result and cache are
thrown away: the program's outputs stay bit for bit what they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from .anatomy import attention_of

SHARE = 0.5
"""Of the decoded tokens; the others are what they are compared with."""
_CACHES = ("past_key_values", "past_key_value")
_REPLACED = ("DynamicLayer", "DynamicSlidingWindowLayer")
"""Cache layers of transformers that replace their tensors and never write into them: keeping the old ones is enough."""


class CannotRepeat(Exception):
    """Why a layer must not run again, in a few words."""


class Draw:
    """Draws a layer for about every second decoded token; with `halves`, every second of these its attention half alone."""

    def __init__(self, seed: int, layers: int, *, halves: bool = False) -> None:
        self._random, self._layers, self._halves = random.Random(seed), layers, halves

    def next(self) -> tuple[int, bool]:
        """Return a layer, or -1 for none, and whether its attention half alone is meant."""
        layer = self._random.randrange(self._layers)
        chosen = layer if self._random.random() < SHARE else -1
        return chosen, self._halves and self._random.random() < SHARE


def check_repeatable(layer: Any, *, halves: bool) -> None:
    """Raise CannotRepeat where running a layer twice, or no further than to its half, would be seen from outside it."""
    if layer.training:
        raise CannotRepeat("the model is in training mode")
    for part in layer.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise CannotRepeat("the program has hooks of its own in the layer")
        if halves and hasattr(part, "_hf_hook"):
            raise CannotRepeat("its weights are moved in and out, and would stay where they are half-way")


def snapshot(layer: Any, number: int, kwargs: Mapping[str, Any]) -> Callable[[], None]:
    """Return what puts the layer's cache back into the state it is in now; CannotRepeat where that is not possible."""
    cache = next((kwargs[name] for name in _CACHES if kwargs.get(name) is not None), None)
    if cache is None:
        return lambda: None
    number = getattr(attention_of(layer), "layer_idx", number)
    slots = getattr(cache, "layers", None)
    if slots is None or number >= len(slots) or type(slots[number]).__name__ not in _REPLACED:
        raise CannotRepeat(f"its cache of type {type(cache).__name__} is written in place")
    slot = slots[number]
    state = dict(vars(slot))

    def restore() -> None:
        vars(slot).clear()
        vars(slot).update(state)

    return restore
