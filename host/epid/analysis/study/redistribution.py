"""Which layers got slower or faster when heads were cut, with intervals, and corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..interval import Interval
from ..layers.layer import Layer
from ..summary import Summary
from .arm import Arm
from .comparison import LayerChange
from .contrast import ONE_RUN, Contrast, contrast, holm, spread
from .verdict import ALPHA

_NO_HALF = "this layer has no such half, or the engine does not tell the halves apart"


def layer_changes(baseline: Arm, arm: Arm) -> tuple[LayerChange, ...]:
    """Compare every layer that both arms have; p values are Holm-adjusted over the layers."""
    numbers = sorted(set(_numbers(baseline)) & set(_numbers(arm)))
    times = [_contrast(baseline, arm, number, "whole_us") for number in numbers]
    adjusted = holm([found.p_changed() if found else 1.0 for found in times])
    return tuple(
        LayerChange(
            layer=number,
            heads=_heads(baseline, arm, number, "n_head"),
            kv_heads=_heads(baseline, arm, number, "n_head_kv"),
            time=_ratio(found),
            attention=_ratio(_contrast(baseline, arm, number, "attention_us")),
            ffn=_ratio(_contrast(baseline, arm, number, "ffn_us")),
            energy=_energy(baseline, arm, number, "by_regression"),
            attention_energy=_energy(baseline, arm, number, "attention"),
            ffn_energy=_energy(baseline, arm, number, "ffn"),
            p_adjusted=p,
            claim=("faster" if found.log < 0 else "slower") if found and p < ALPHA else "",
        )
        for number, found, p in zip(numbers, times, adjusted, strict=True)
    )


def untouched_us(run: Summary, pruned: frozenset[int]) -> float:
    """Time per token in what no head was taken from: feed-forward halves, and whole layers that kept all heads."""
    times = [_rest_us(layer, layer.layer in pruned) for layer in run.layers]
    return float(np.sum(times)) if times else math.nan


def touched_us(run: Summary, pruned: frozenset[int]) -> float:
    """Time per token in the attention of layers that lost heads, or in those layers whole where halves cannot be told apart."""
    times = [_attention_us(layer) for layer in run.layers if layer.layer in pruned]
    return float(np.sum(times)) if times else math.nan


def pruned_layers(baseline: Arm, arm: Arm) -> frozenset[int]:
    """Layers that have fewer query heads than in the baseline."""
    before, after = (list(each.model.get("n_head", [])) for each in (baseline, arm))
    return frozenset(at for at, (whole, left) in enumerate(zip(before, after, strict=False)) if left < whole)


def _rest_us(layer: Layer, cut: bool) -> float:
    if not cut:
        return layer.whole_us
    return layer.ffn_us if math.isfinite(layer.ffn_us) else 0.0


def _attention_us(layer: Layer) -> float:
    return layer.attention_us if math.isfinite(layer.attention_us) else layer.whole_us


def _numbers(arm: Arm) -> Sequence[int]:
    return [layer.layer for layer in arm.runs[0].layers]


def _contrast(baseline: Arm, arm: Arm, number: int, name: str) -> Contrast | None:
    before, after = (_values(each, number, lambda layer: float(getattr(layer, name))) for each in (baseline, arm))
    if not before or not after:
        return None
    return contrast(after, before, spread([before, after]))


def _values(arm: Arm, number: int, figure: Callable[[Layer], float]) -> list[float]:
    found = [figure(layer) for run in arm.runs for layer in run.layers if layer.layer == number]
    return [value for value in found if math.isfinite(value) and value > 0]


def _ratio(found: Contrast | None) -> Interval:
    if found is None:
        return Interval.missing(_NO_HALF)
    return found.ratio if found.tested else Interval(math.exp(found.log), 0.0, math.inf, ONE_RUN)


def _energy(baseline: Arm, arm: Arm, number: int, name: str) -> Interval:
    """Ratio of joules per token by regression: errors of both arms; the gain that they share is left in, small beside them."""
    arms = [
        [getattr(layer, name) for run in each.runs for layer in run.layers if layer.layer == number] for each in (baseline, arm)
    ]
    known = [[figure for figure in figures if figure.known] for figures in arms]
    if not all(known):
        return Interval.missing(next((figure.reason for figures in arms for figure in figures if not figure.known), _NO_HALF))
    means = [float(np.mean([figure.value for figure in figures])) for figures in known]
    errors = [
        math.sqrt(sum(figure.sd**2 for figure in figures)) / len(figures) / mean
        for figures, mean in zip(known, means, strict=True)
    ]
    ratio = means[1] / means[0]
    return Interval.normal(ratio, ratio * math.hypot(*errors))


def _heads(baseline: Arm, arm: Arm, number: int, name: str) -> tuple[int, int]:
    def count(model: Mapping[str, object]) -> int:
        heads = model.get(name)
        return int(heads[number]) if isinstance(heads, list | tuple) and number < len(heads) else -1

    return count(baseline.model), count(arm.model)
