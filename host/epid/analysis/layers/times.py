"""How long each layer took while tokens were generated, over all spans of a run, in pieces that fit in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epi_protocol import events

from ..timeline.timeline import SpanTable

ORDINARY = ("attention", "ffn", "layer")
REPEATED = ("repeat", "repeat_attention", "repeat_ffn")
PARTS = (*ORDINARY, *REPEATED)
"""Kinds of span that belong to a layer; the column order of LayerTimes."""

_PART_OF_KIND = np.full(256, -1, dtype=np.int8)
_PART_OF_KIND[[events.KIND[name] for name in PARTS]] = np.arange(len(PARTS))


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Spans of decoding by layer: `layers` (n,), and of shape (n, 6), columns as PARTS: `median_us` (NaN where there is none),
    `seconds` in all, `count`."""

    layers: np.ndarray
    median_us: np.ndarray
    seconds: np.ndarray
    count: np.ndarray

    def whole_us(self) -> np.ndarray:
        """Median of each layer as a whole, or the sum of its halves' medians."""
        whole = self.median_us[:, PARTS.index("layer")]
        halves = self.median_us[:, :2]
        return np.where(np.isnan(whole), np.where(np.isnan(halves), 0, halves).sum(axis=1), whole)

    def ordinary_s(self) -> np.ndarray:
        """Seconds of each layer's first, ordinary computations."""
        return np.asarray(self.seconds[:, : len(ORDINARY)].sum(axis=1))

    def repeated_s(self) -> np.ndarray:
        """Seconds of each layer's extra computations."""
        return np.asarray(self.seconds[:, len(ORDINARY) :].sum(axis=1))

    @property
    def repeats(self) -> np.ndarray:
        """Extra computations of each layer, or of its attention half alone."""
        return np.asarray(self.count[:, PARTS.index("repeat")] + self.count[:, PARTS.index("repeat_attention")])


def layer_times(spans: SpanTable) -> LayerTimes:
    """Work through the spans once; memory is four bytes per span of a layer."""
    found: dict[int, list[np.ndarray]] = {}
    for columns in spans.chunks():
        keep = (columns["phase"] == events.KIND["decode"]) & (columns["layer"] >= 0) & (_PART_OF_KIND[columns["kind"]] >= 0)
        layer, part = columns["layer"][keep].astype(np.int32), _PART_OF_KIND[columns["kind"][keep]]
        took_ns = (columns["end_ns"][keep] - columns["begin_ns"][keep]).astype(np.float32)
        _sort_in(found, layer * len(PARTS) + part, took_ns)
    return _reduced(found)


def _sort_in(found: dict[int, list[np.ndarray]], key: np.ndarray, took_ns: np.ndarray) -> None:
    if not len(key):
        return
    order = np.argsort(key.astype(np.int16) if key.max() < 1 << 15 else key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for at, piece in zip(ordered[starts], np.split(took_ns[order], starts[1:]), strict=True):
        found.setdefault(int(at), []).append(piece)


def _reduced(found: dict[int, list[np.ndarray]]) -> LayerTimes:
    layers = np.array(sorted({key // len(PARTS) for key in found}), dtype=np.int64)
    shape = (len(layers), len(PARTS))
    median_us, seconds, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for key in sorted(found):
        took_ns = np.concatenate(found.pop(key))
        at = int(np.searchsorted(layers, key // len(PARTS))), key % len(PARTS)
        median_us[at] = float(np.median(took_ns)) / 1e3
        seconds[at] = float(took_ns.sum(dtype=np.float64)) / 1e9
        count[at] = len(took_ns)
    return LayerTimes(layers, median_us, seconds, count)
