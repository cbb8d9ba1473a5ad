"""What truly happened in a simulated run: the figures that the analysis has to find."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from epi_protocol.events import KIND
from epi_tools.simrun.layout import Simulated
from epi_tools.simrun.power import Profile, layer_watts
from epi_tools.simrun.spans import REPEATS, Spans

_LAYER_KINDS = ("attention", "ffn", "layer", *REPEATS)


@dataclass(frozen=True, slots=True)
class PhaseTruth:
    """True joules and true seconds of a phase over all requests; net is above the true idle watts of the same run."""

    tokens: int
    seconds: float
    energy_j: float
    j_per_token: float
    j_per_token_net: float


def outcome(simulated: Simulated, power: Profile, gain: float) -> dict[str, Any]:
    """Return what stands in truth.json about one run: coefficients, and the integral of the hidden watts over its spans."""
    truth, spans = simulated.truth, simulated.spans
    idle_w = _mean_w(spans.of("idle"), power)
    attention_w, ffn_w = layer_watts(truth, simulated.seed)
    decode = _phase("decode", spans, power, idle_w)
    accuracy = truth.accuracy.value if truth.accuracy.n else None
    return {
        "simulated": True,
        "run": simulated.run,
        "label": simulated.label,
        "arm": truth.arm,
        "seed": simulated.seed,
        "repeat": simulated.repeat,
        "utc": simulated.utc,
        "begin_host_ns": simulated.begin_ns,
        "end_host_ns": simulated.end_ns,
        "meter_gain": gain,
        "idle_w": idle_w,
        "total_j": _total(power, simulated.begin_ns, simulated.end_ns),
        "prefill": asdict(_phase("prefill", spans, power, idle_w)),
        "decode": asdict(decode),
        "accuracy": accuracy,
        "epi": decode.j_per_token / accuracy if accuracy else None,
        "layers": _layers(simulated, power, idle_w, decode.tokens),
        "watts_above_idle": {"attention": attention_w.tolist(), "ffn": ffn_w.tolist()},
        "truth": asdict(truth),
    }


def _total(power: Profile, begin_ns: int, end_ns: int) -> float:
    return float(power.energy_j(np.array([begin_ns]), np.array([end_ns]))[0])


def _seconds(spans: Spans) -> float:
    return float((spans.columns["end_ns"] - spans.columns["begin_ns"]).sum()) * 1e-9


def _joules(spans: Spans, power: Profile) -> float:
    return float(power.energy_j(spans.columns["begin_ns"], spans.columns["end_ns"]).sum())


def _mean_w(spans: Spans, power: Profile) -> float | None:
    return _joules(spans, power) / _seconds(spans) if len(spans) else None


def _phase(kind: str, spans: Spans, power: Profile, idle_w: float | None) -> PhaseTruth:
    mine = spans.of(kind)
    tokens, seconds, joules = int(mine.columns["count"].sum()), _seconds(mine), _joules(mine, power)
    per_token = joules / tokens if tokens else float("nan")
    net = (joules - (idle_w or 0.0) * seconds) / tokens if tokens and idle_w is not None else float("nan")
    return PhaseTruth(tokens, seconds, joules, per_token, net)


def _layers(simulated: Simulated, power: Profile, idle_w: float | None, tokens: int) -> list[dict[str, Any]]:
    """Joules per decoded token of each layer while it computed for the first time, by half; repeats stand apart."""
    decoding = simulated.spans.where(simulated.spans.columns["phase"] == KIND["decode"]).of(*_LAYER_KINDS)
    joules = power.energy_j(decoding.columns["begin_ns"], decoding.columns["end_ns"])
    seconds = (decoding.columns["end_ns"] - decoding.columns["begin_ns"]) * 1e-9
    rows = []
    for layer in range(simulated.truth.model.n_layer):
        row: dict[str, Any] = {"layer": layer}
        for kind in _LAYER_KINDS:
            mine = (decoding.columns["layer"] == layer) & (decoding.columns["kind"] == KIND[kind])
            gross = float(joules[mine].sum()) / max(tokens, 1)
            row[f"{kind}_j_per_token"] = gross
            row[f"{kind}_j_per_token_net"] = gross - (idle_w or 0.0) * float(seconds[mine].sum()) / max(tokens, 1)
        rows.append(row)
    return rows
