"""What the regression tells apart: whole layers, or the attention and feed-forward half of each where a run repeats halves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epi_protocol import events

from .times import PARTS, REPEATED, LayerTimes

ATTENTION, FFN, WHOLE = 0, 1, 2
"""What a unit is."""

_UNIT_OF_KIND = np.full(256, -1, dtype=np.int8)
_UNIT_OF_KIND[[events.KIND[name] for name in REPEATED]] = (WHOLE, ATTENTION, FFN)


def is_repeat(kind: np.ndarray) -> np.ndarray:
    """Return which kinds of span are extra computations."""
    return np.asarray(_UNIT_OF_KIND[kind] >= 0)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Columns of the design, arrays of shape (n,): the number of its `layer`, and `what` the unit is of it;
    seconds of its first computations (`ordinary_s`) and of its extra ones (`repeated_s`), and how many (`repeats`) those were."""

    layer: np.ndarray
    what: np.ndarray
    ordinary_s: np.ndarray
    repeated_s: np.ndarray
    repeats: np.ndarray

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def halved(self) -> bool:
        """Whether the units are halves."""
        return bool((self.what != WHOLE).any())

    def of(self, layer: int, *whats: int) -> np.ndarray:
        """Return by how much of the time of a layer's units, all or only `whats`, each stands for, (n,): 1 in all, or all 0."""
        mine = (self.layer == layer) & (np.isin(self.what, whats) if whats else True)
        seconds = np.where(mine, self.ordinary_s, 0.0)
        return np.asarray(seconds / seconds.sum() if seconds.any() else seconds)

    def columns(self, kind: np.ndarray, layer: np.ndarray) -> np.ndarray:
        """Return the unit that each repeat, given its kind of span and its layer, computed once more."""
        column = np.full((int(self.layer.max()) + 1, 3), -1)
        column[self.layer, self.what] = np.arange(len(self))
        return np.asarray(column[layer, _UNIT_OF_KIND[kind]])


def units_of(times: LayerTimes) -> Units | None:
    """Return halves where the run repeats halves, else whole layers; None where it repeats both, which no one design holds."""
    wholes = _part(times.count, "repeat")
    halved = bool((_part(times.count, "repeat_attention") + _part(times.count, "repeat_ffn")).any())
    if halved and wholes.any():
        return None
    if not halved:
        return Units(times.layers, np.full(len(times.layers), WHOLE), times.ordinary_s(), times.repeated_s(), wholes)
    return _halves(times)


def _halves(times: LayerTimes) -> Units:
    """A layer without attention, or one whose halves nobody saw, has no unit for what it lacks."""
    attention_s, ffn_s = _part(times.seconds, "attention"), _part(times.seconds, "ffn")
    found = [
        (times.layers[at], what, ordinary_s[at], _part(times.seconds, kind)[at], _part(times.count, kind)[at])
        for what, ordinary_s, kind in ((ATTENTION, attention_s, "repeat_attention"), (FFN, ffn_s, "repeat_ffn"))
        for at in np.flatnonzero((ordinary_s > 0) | (_part(times.count, kind) > 0))
    ]
    layer, what, ordinary_s, repeated_s, repeats = (np.array(column) for column in zip(*found, strict=True))
    return Units(layer, what, ordinary_s, repeated_s, repeats)


def _part(values: np.ndarray, name: str) -> np.ndarray:
    return np.asarray(values[:, PARTS.index(name)])
