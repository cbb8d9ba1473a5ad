"""Watts at the socket from what a node does at each moment: the hidden side of a run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from epi_protocol.events import KIND
from epi_tools.simrun.draws import around, draws
from epi_tools.simrun.inference import PREFILL, attention_us, per_layer
from epi_tools.simrun.pieces import Pieces
from epi_tools.simrun.spans import LEAVES, Spans
from epi_tools.simrun.truth import Truth

Floats = NDArray[np.float64]

SLOW_NS = 100_000_000
"""Step of what changes slowly: temperature and wandering."""


class Profile:
    """Watts as constant pieces, and their exact integral; `source` is what the chip model meters.

    ends_ns: int64 and watts: float64, both of shape (n,); `begin_ns` is where the first piece begins, and the last holds on.
    """

    def __init__(self, begin_ns: int, ends_ns: NDArray[np.int64], watts: Floats) -> None:
        self.source = Pieces(ends_ns.tolist(), watts.tolist())
        self._edges_ns = np.concatenate([[begin_ns], ends_ns])
        self._joules = np.concatenate([[0.0], np.cumsum(watts * np.diff(self._edges_ns) * 1e-9)])

    def energy_j(self, begin_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> Floats:
        """True joules of intervals of shape (n,)."""
        base = self._edges_ns[0]
        edges = (self._edges_ns - base).astype(float)
        begin_j, end_j = (np.interp((at_ns - base).astype(float), edges, self._joules) for at_ns in (begin_ns, end_ns))
        return np.asarray(end_j - begin_j)


def profile(truth: Truth, spans: Spans, seed: int, repeat: int, begin_ns: int, end_ns: int) -> tuple[Profile, Floats]:
    """Return the watts from `begin_ns` to `end_ns`, and the node's temperature every tenth of a second."""
    leaves = spans.of(*LEAVES).in_order_of("begin_ns")
    slow_ns = np.arange(begin_ns, end_ns + SLOW_NS, SLOW_NS, dtype=np.int64)
    known = [leaves.columns["begin_ns"], leaves.columns["end_ns"], *_phase_edges(spans), slow_ns]
    edges = np.unique(np.clip(np.concatenate(known), begin_ns, end_ns))
    dynamic = _dynamic_w(truth, spans, leaves, seed, edges[:-1])
    dynamic *= float(around(draws(seed, truth.arm, repeat, "watts"), truth.power.run_spread))
    slow = np.searchsorted(slow_ns, edges[:-1], side="right") - 1
    celsius = _temperature(truth, dynamic, np.diff(edges), slow, len(slow_ns))
    leak = truth.power.leak_w_per_c * (celsius - truth.power.ambient_c)
    wander = _wander(truth, draws(seed, truth.arm, repeat, "wander"), len(slow_ns))
    watts = np.maximum(truth.power.idle_w + dynamic + (leak + wander)[slow], 0.0)
    return Profile(begin_ns, edges[1:], watts), celsius


def _phase_edges(spans: Spans) -> list[NDArray[np.int64]]:
    phases = spans.of("prefill", "decode").columns
    return [phases["begin_ns"], phases["end_ns"]]


def _dynamic_w(truth: Truth, spans: Spans, leaves: Spans, seed: int, at_ns: NDArray[np.int64]) -> Floats:
    """Watts above idle of the pieces that begin at `at_ns`: of the leaf around each, or of the phase where there is none."""
    watts = _leaf_w(truth, leaves, seed)
    if len(leaves):
        leaf = np.clip(np.searchsorted(leaves.columns["begin_ns"], at_ns, side="right") - 1, 0, None)
        inside = (leaves.columns["begin_ns"][leaf] <= at_ns) & (at_ns < leaves.columns["end_ns"][leaf])
    else:
        leaf, inside = np.zeros(len(at_ns), int), np.zeros(len(at_ns), bool)
        watts = np.zeros(1)
    between = np.where(_busy(spans, at_ns), truth.power.other_w, 0.0)
    return np.where(inside, watts[leaf], between)


def _busy(spans: Spans, at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    phases = spans.of("prefill", "decode").columns
    begins, ends = np.sort(phases["begin_ns"]), np.sort(phases["end_ns"])
    return np.asarray(np.searchsorted(begins, at_ns, side="right") > np.searchsorted(ends, at_ns, side="right"))


def _leaf_w(truth: Truth, leaves: Spans, seed: int) -> Floats:
    """Watts above idle of each leaf, shape (n,)."""
    power, columns = truth.power, leaves.columns
    attention, ffn = layer_watts(truth, seed)
    kind, layer = columns["kind"], np.clip(columns["layer"], 0, truth.model.n_layer - 1)
    watts = np.full(len(leaves), power.other_w)
    watts[kind == KIND["idle"]] = watts[kind == KIND["rest"]] = 0.0
    watts[kind == KIND["burn"]] = watts[kind == KIND["warmup"]] = power.burn_w
    watts[kind == KIND["sync"]] = power.sync_w
    whole = _whole(truth, seed)
    for of_layer, names in (
        (attention, ("attention", "repeat_attention")),
        (ffn, ("ffn", "repeat_ffn")),
        (whole, ("layer", "repeat")),
    ):
        mine = np.isin(kind, [KIND[name] for name in names])
        watts[mine] = of_layer[layer[mine]]
    return np.asarray(watts * np.where(columns["phase"] == PREFILL, power.prefill_factor, 1.0))


def layer_watts(truth: Truth, seed: int) -> tuple[Floats, Floats]:
    """Watts above idle of each layer's (attention, feed-forward half), each of shape (n_layer,)."""
    power = truth.power
    attention = per_layer(power.attention_w, truth, draws(seed, "attention watts"), power.layer_spread)
    ffn = per_layer(power.ffn_w, truth, draws(seed, "ffn watts"), power.layer_spread)
    return attention * (1 + power.rise), ffn * (1 + power.rise)


def _whole(truth: Truth, seed: int) -> Floats:
    """Mean watts of a layer as a whole: its halves weighted by the time they take."""
    attention, ffn = layer_watts(truth, seed)
    work = truth.workload
    middle = truth.timing.attention_us_per_position * (work.prompt_tokens + work.tokens / 2)
    a_us = attention_us(truth, seed) + middle
    f_us = per_layer(truth.timing.ffn_us, truth, draws(seed, "ffn time"), truth.timing.layer_spread)
    return np.asarray((attention * a_us + ffn * f_us) / (a_us + f_us))


def _temperature(truth: Truth, dynamic: Floats, lasts_ns: NDArray[np.int64], slow: NDArray[np.int64], n: int) -> Floats:
    """Degrees Celsius of the processor at each slow step: first order in the mean watts of the step before."""
    power = truth.power
    joules = np.bincount(slow, dynamic * lasts_ns, n) / SLOW_NS
    gain = SLOW_NS * 1e-9 / max(power.thermal_s, 1e-3)
    celsius = np.empty(n)
    now = power.ambient_c + power.c_per_w * power.idle_w
    for step in range(n):
        celsius[step] = now
        now += gain * (power.ambient_c + power.c_per_w * (power.idle_w + joules[step]) - now)
    return celsius


def _wander(truth: Truth, rng: np.random.Generator, n: int) -> Floats:
    """Ornstein-Uhlenbeck noise of standard deviation `noise_w`, shape (n,)."""
    stays = np.exp(-SLOW_NS * 1e-9 / max(truth.power.noise_s, 1e-3))
    kicks = rng.normal(0, truth.power.noise_w * np.sqrt(1 - stays**2), n)
    out, now = np.empty(n), rng.normal(0, truth.power.noise_w)
    for step in range(n):
        out[step] = now
        now = stays * now + kicks[step]
    return out
