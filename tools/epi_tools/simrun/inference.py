"""Spans of an inference that never ran: the order of things as `hookrun llama` does them, durations from the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epi_protocol.events import KIND
from epi_tools.simrun.decoder import attention_share
from epi_tools.simrun.draws import around, draws
from epi_tools.simrun.spans import SpanList, Spans
from epi_tools.simrun.truth import PerLayer, Truth

PREFILL, DECODE = KIND["prefill"], KIND["decode"]
_STEP_S = (0.05, 0.4)
"""Shortest and longest half of a load pattern."""


class Inference:
    """Lays out one run from `start_ns` on; `seed` and `repeat` decide every draw."""

    def __init__(self, truth: Truth, seed: int, repeat: int, start_ns: int = 0) -> None:
        self._truth, self._at_ns = truth, float(start_ns)
        self._spans = SpanList()
        self._rng = draws(seed, truth.arm, repeat, "durations")
        self._pattern = draws(seed, "pattern")
        self._order = draws(seed, "repeats", repeat)
        run = float(around(self._rng, truth.timing.run_spread))
        self._attention_us = run * attention_us(truth, seed)
        self._ffn_us = run * per_layer(truth.timing.ffn_us, truth, draws(seed, "ffn time"), truth.timing.layer_spread)

    def spans(self) -> Spans:
        """The whole run: load pattern, idle, requests with gaps, idle, load pattern."""
        work = self._truth.workload
        self._load_pattern()
        self._lie_idle(work.idle_s)
        for request in range(work.requests):
            if request:
                self._lie_idle(work.gap_s)
            self._request(request)
        self._lie_idle(work.idle_s)
        self._load_pattern()
        return self._spans.spans()

    def _load_pattern(self) -> None:
        until_ns, kind = self._at_ns + self._truth.workload.pattern_s * 1e9, "burn"
        while self._at_ns < until_ns:
            self._pass(kind, 1e9 * self._pattern.uniform(*_STEP_S))
            kind = "rest" if kind == "burn" else "burn"

    def _lie_idle(self, seconds: float) -> None:
        if seconds > 0:
            self._pass("idle", seconds * 1e9)

    def _request(self, request: int) -> None:
        work, begin_ns = self._truth.workload, self._at_ns
        if work.prompt_tokens:
            self._forward(PREFILL, request, -1, work.prompt_tokens)
            self._spans.push("prefill", begin_ns, self._at_ns, phase=PREFILL, request=request, count=work.prompt_tokens)
        middle_ns = self._at_ns
        for token in range(work.tokens):
            token_ns = self._at_ns
            self._forward(DECODE, request, token, 1)
            self._spans.push("token", token_ns, self._at_ns, phase=DECODE, request=request, token=token, count=1)
            self._at_ns += self._truth.timing.between_us * 1e3
        self._spans.push("decode", middle_ns, self._at_ns, phase=DECODE, request=request, count=work.tokens)
        self._spans.push("request", begin_ns, self._at_ns, request=request, count=work.prompt_tokens + work.tokens)

    def _forward(self, phase: int, request: int, token: int, count: int) -> None:
        """One pass through the model for `count` tokens at once."""
        truth, timing = self._truth, self._truth.timing
        position = max(0, token) + truth.workload.prompt_tokens
        share = 1.0 if phase == DECODE else count / timing.prefill_speedup
        pace = 1e3 * share * float(around(self._rng, timing.token_jitter))
        grown = self._attention_us + timing.attention_us_per_position * (position if phase == DECODE else 0)
        attention_ns = pace * grown * around(self._rng, timing.jitter, len(grown))
        ffn_ns = pace * self._ffn_us * around(self._rng, timing.jitter, len(grown))
        chosen, kinds = self._drawn() if phase == DECODE else (-1, ())
        values = {"phase": phase, "request": request, "token": token, "count": count}
        self._pass("embedding", pace * timing.embedding_us, **values)
        for layer in range(len(grown)):
            self._pass("attention", attention_ns[layer], layer=layer, **values)
            self._pass("ffn", ffn_ns[layer], layer=layer, **values)
            for kind in kinds if layer == chosen else ():
                once_ns = (kind != "repeat_ffn") * attention_ns[layer] + (kind != "repeat_attention") * ffn_ns[layer]
                self._pass(kind, once_ns * float(around(self._rng, timing.jitter)), layer=layer, **values)
        self._pass("head", 1e3 * timing.head_us * float(around(self._rng, timing.jitter)), **values)

    def _drawn(self) -> tuple[int, Sequence[str]]:
        """Which layer is computed again in this token, and as which kinds of span: all of it, or every second time, where halves
        are repeated, its attention half alone."""
        work = self._truth.workload
        if not work.repeats:
            return -1, ()
        layer = int(self._order.integers(self._truth.model.n_layer))
        if not work.repeat_halves:
            return layer, ("repeat",) * work.repeats
        alone = self._order.random() < 0.5
        return layer, (("repeat_attention",) if alone else ("repeat_attention", "repeat_ffn")) * work.repeats

    def _pass(self, kind: str, lasts_ns: float, **values: int) -> None:
        begin_ns, self._at_ns = self._at_ns, self._at_ns + float(lasts_ns)
        self._spans.push(kind, begin_ns, self._at_ns, **values)


def attention_us(truth: Truth, seed: int) -> np.ndarray:
    """Microseconds of each layer's attention, less what the heads that are gone took; shape (n_layer,)."""
    timing = truth.timing
    whole = per_layer(timing.attention_us, truth, draws(seed, "attention time"), timing.layer_spread)
    return whole * attention_share(truth.model, timing.saved)


def per_layer(value: PerLayer, truth: Truth, rng: np.random.Generator, spread: float) -> np.ndarray:
    """One value per layer: as listed, or one for all with `spread` around it; shape (n_layer,)."""
    listed = np.array(value if isinstance(value, tuple) else [value] * truth.model.n_layer, float)
    return listed * around(rng, spread, len(listed))
