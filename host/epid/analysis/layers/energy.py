"""Joules of each layer: by its share of the time, and, where the design of the run allows it, by regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..interval import Interval
from ..lag.lag import Lag
from ..metering.registers import Registers
from ..timeline.timeline import MeterTrack, SpanTable
from ..windows.conservation import Part
from ..windows.consumption import Consumption
from .design import layer_design
from .fit import LayerFit, Total, fit_layers
from .layer import BY_REGRESSION, HALVES_NOT_IDENTIFIABLE, NOT_IDENTIFIABLE, Layer
from .times import PARTS, LayerTimes, layer_times

FEWEST_REPEATS = 5


@dataclass(frozen=True, slots=True)
class LayerEnergies:
    """`layers`, and `parts`: decoding as layers, their repeats and the rest, by the same estimate as the layers."""

    layers: tuple[Layer, ...]
    parts: tuple[Part, ...]


def layer_energies(
    registers: Registers,
    track: MeterTrack,
    spans: SpanTable,
    decode: Consumption,
    lag: Lag | None,
    power_scale: float,
    gain_sd: float,
) -> LayerEnergies:
    """Work out all layers of a run; `power_scale` brings P onto the scale of the registers."""
    times = layer_times(spans)
    if not len(times.layers) or not decode.tokens:
        return LayerEnergies((), (Part("decode", decode.seconds, decode.total.value if decode.spans else 0.0),))
    fit = None
    if (times.repeats >= FEWEST_REPEATS).any():
        design = layer_design(registers, track, spans, times, lag, power_scale)
        fit = fit_layers(design, registers.quantum_j, _total(times, decode), decode.seconds / decode.tokens, decode.idle_w)
    layers = tuple(_layer(at, times, decode, fit, gain_sd) for at in range(len(times.layers)))
    return LayerEnergies(layers, _parts(times, decode, fit))


def _total(times: LayerTimes, decode: Consumption) -> Total:
    assert decode.budget is not None
    layers_s = times.ordinary_s() + times.seconds[:, PARTS.index("repeat")]
    repeats_s = float(times.seconds[:, PARTS.index("repeat")].sum())
    return Total(decode.total.value, decode.budget.own, np.append(layers_s, [decode.seconds - layers_s.sum(), repeats_s]))


def _layer(at: int, times: LayerTimes, decode: Consumption, fit: LayerFit | None, gain_sd: float) -> Layer:
    ordinary_s = float(times.ordinary_s()[at])
    by_time = decode.per_token.scaled(ordinary_s / decode.seconds)
    by_regression = Interval.missing(NOT_IDENTIFIABLE)
    if fit is not None and fit.told_apart[at] and times.repeats[at] >= FEWEST_REPEATS:
        watts, variance = float(fit.watts[at]), float(fit.covariance[at, at])
        sd_w = float(np.sqrt(variance + (gain_sd * watts) ** 2))
        by_regression = Interval.normal(watts, sd_w).scaled(ordinary_s / decode.tokens)
    halves = Interval.missing(HALVES_NOT_IDENTIFIABLE if by_regression.known else NOT_IDENTIFIABLE)
    attention_us, ffn_us = (float(times.median_us[at, PARTS.index(name)]) for name in ("attention", "ffn"))
    return Layer(
        layer=int(times.layers[at]),
        attention_us=attention_us,
        ffn_us=ffn_us,
        whole_us=float(times.whole_us()[at]),
        by_time=by_time,
        by_regression=by_regression,
        attention=halves,
        ffn=halves,
        repeats=int(times.repeats[at]),
        resolution=float(fit.resolution[at]) if fit is not None else float("nan"),
        method=BY_REGRESSION,
    )


def _parts(times: LayerTimes, decode: Consumption, fit: LayerFit | None) -> tuple[Part, ...]:
    """By the fitted watts where every layer is told apart, else all of it at decoding's mean power."""
    ordinary_s, repeat_s = times.ordinary_s(), times.seconds[:, PARTS.index("repeat")]
    rest_s = decode.seconds - float(ordinary_s.sum() + repeat_s.sum())
    mean_w = decode.total.value / decode.seconds
    known = fit is not None and bool(fit.told_apart.all()) and bool((times.repeats >= FEWEST_REPEATS).all())
    watts = fit.watts if fit is not None and known else np.append(np.full(len(ordinary_s) + 1, mean_w), 0.0)
    return (
        Part("layers", float(ordinary_s.sum()), float(ordinary_s @ watts[:-2])),
        Part("repeated layers", float(repeat_s.sum()), float(repeat_s @ watts[:-2])),
        Part("rest of decode", rest_s, rest_s * float(watts[-2])),
    )
