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
from .fit import fit_layers
from .layer import BY_REGRESSION, NOT_IDENTIFIABLE, Layer
from .normal import Total
from .prior import Kinds
from .regression import FEWEST_REPEATS, Regression
from .times import PARTS, LayerTimes, layer_times
from .units import ATTENTION, FFN, Units, units_of


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
    units = units_of(times)
    fit = None
    if units is not None and (units.repeats >= FEWEST_REPEATS).any():
        design = layer_design(registers, track, spans, units, lag, power_scale)
        token_s = decode.seconds / decode.tokens
        fit = fit_layers(design, Kinds.of(units.what), registers.quantum_j, _total(units, decode), token_s, decode.idle_w)
    seen = None if fit is None or units is None else Regression(units, fit, decode.tokens, gain_sd)
    layers = tuple(_layer(at, times, decode, seen) for at in range(len(times.layers)))
    return LayerEnergies(layers, _parts(times, decode, seen))


def _total(units: Units, decode: Consumption) -> Total:
    assert decode.budget is not None
    units_s = units.ordinary_s + units.repeated_s
    rest_s = decode.seconds - units_s.sum()
    return Total(decode.total.value, decode.budget.own, np.append(units_s, [rest_s, units.repeated_s.sum()]))


def _layer(at: int, times: LayerTimes, decode: Consumption, seen: Regression | None) -> Layer:
    number = int(times.layers[at])
    attention_us, ffn_us = (float(times.median_us[at, PARTS.index(name)]) for name in ("attention", "ffn"))
    missing = Interval.missing(NOT_IDENTIFIABLE)
    return Layer(
        layer=number,
        attention_us=attention_us,
        ffn_us=ffn_us,
        whole_us=float(times.whole_us()[at]),
        by_time=decode.per_token.scaled(float(times.ordinary_s()[at]) / decode.seconds),
        by_regression=missing if seen is None else seen.layer_j(number),
        attention=missing if seen is None else seen.half_j(number, ATTENTION),
        ffn=missing if seen is None else seen.half_j(number, FFN),
        repeats=int(times.repeats[at]),
        resolution=float("nan") if seen is None else seen.resolution(number),
        method=BY_REGRESSION,
    )


def _parts(times: LayerTimes, decode: Consumption, seen: Regression | None) -> tuple[Part, ...]:
    """By the fitted watts where everything is told apart, else all of it at decoding's mean power."""
    ordinary_s, repeated_s = float(times.ordinary_s().sum()), float(times.repeated_s().sum())
    rest_s = decode.seconds - ordinary_s - repeated_s
    if seen is not None and seen.complete:
        joules = seen.joules(rest_s)
    else:
        mean_w = decode.total.value / decode.seconds
        joules = (mean_w * ordinary_s, mean_w * repeated_s, mean_w * rest_s)
    names, seconds = ("layers", "repeated layers", "rest of decode"), (ordinary_s, repeated_s, rest_s)
    return tuple(Part(*part) for part in zip(names, seconds, joules, strict=True))
