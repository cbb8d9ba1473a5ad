"""Layers measured by probe models: what a token costs more where one layer stands several times in the model file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

from ..interval import Interval
from ..layers.layer import BY_PROBE
from .arm import Arm
from .contrast import ONE_RUN, Spread

RESOLUTION = 0.05
"""Largest standard error over the mean layer's joules for a figure to be given, as for layers by regression."""

NOT_RESOLVED = (
    "not resolved: one layer is too little against the scatter between runs; let it stand more often, or make more runs"
)


@dataclass(frozen=True, slots=True)
class ProbedLayer:
    """`joules` per token of one `layer`, from the arm in whose model it stands `repeat` times, against the plain model."""

    layer: int
    repeat: int
    arm: str
    joules: Interval

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain = {"layer": self.layer, "repeat": self.repeat, "arm": self.arm, "method": BY_PROBE}
        return plain | {"joules": self.joules.to_map()}


def probe_of(arm: Arm) -> tuple[int, int] | None:
    """(layer, repeat) of a probe model, None for any other."""
    probe = arm.model.get("probe")
    if not isinstance(probe, Mapping) or not isinstance(probe.get("layer"), int) or not isinstance(probe.get("repeat"), int):
        return None
    return (probe["layer"], probe["repeat"]) if probe["repeat"] > 1 else None


def probed_layers(baseline: Arm, arms: Sequence[Arm], scatter: Spread) -> tuple[ProbedLayer, ...]:
    """Work out every probe among the arms, in order of its layer; `scatter` of single runs about their arms."""
    found = []
    for arm in arms:
        if (probe := probe_of(arm)) is not None:
            found.append(ProbedLayer(*probe, arm.label, _joules(baseline, arm, probe[1], scatter)))
    return tuple(sorted(found, key=lambda probed: (probed.layer, probed.arm)))


def _joules(baseline: Arm, arm: Arm, repeat: int, scatter: Spread) -> Interval:
    n_layer, whole = int(arm.model.get("n_layer", 0)), int(baseline.model.get("n_layer", 0))
    if n_layer != whole + repeat - 1:
        return Interval.missing(f"{arm.label} is no probe of {baseline.label}: it has {n_layer} layers, not {whole + repeat - 1}")
    plain, more = baseline.j_per_token, arm.j_per_token
    if not plain.known or not more.known:
        return Interval.missing(plain.reason or more.reason)
    if not scatter.freedom:
        return Interval.missing(ONE_RUN)
    value = (more.value - plain.value) / (repeat - 1)
    means = more.value / math.sqrt(len(arm.runs)), plain.value / math.sqrt(len(baseline.runs))
    error = math.hypot(scatter.cv * math.hypot(*means) / (repeat - 1), arm.runs[0].gain.sd * value)
    if error > RESOLUTION * plain.value / whole:
        return Interval.missing(NOT_RESOLVED)
    half = float(student.isf(0.025, scatter.freedom)) * error
    return Interval(value, value - half, value + half)
