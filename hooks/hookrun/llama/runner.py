"""Runs prompts through an instrumented context and writes what ran when as spans."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

from epi_protocol.events import KIND

from ..clock import node_ns
from ..sending.ring import SpanRing
from .instrument import Instrument
from .settings import BATCH_TOKENS

PREFILL, DECODE = KIND["prefill"], KIND["decode"]
HOLD_NS = 100_000_000
"""Time of computations whose spans may wait to be written."""
MOST_HELD = 64
"""Tokens that wait at most: their stamps have to find room in the stamper's array."""


@dataclass(frozen=True, slots=True)
class Workload:
    """All prompts in turn, `repeat` times, `tokens` decoded tokens each, after `warmup` requests that do not count.

    `idle_s` of sleep before the first request and after the last, `gap_s` between two; `chunk` tokens of prompt of each sequence
    per computation.
    """

    prompts: tuple[tuple[int, ...], ...]
    tokens: int
    repeat: int = 1
    warmup: int = 0
    idle_s: float = 0.0
    gap_s: float = 0.0
    chunk: int = BATCH_TOKENS

    @property
    def requests(self) -> int:
        """Return how many requests count."""
        return self.repeat * len(self.prompts)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as measured: durations, tokens over all sequences, and those that came out of the first one.

    `tokens` begins with the prompt's own prediction.
    """

    prefill_ns: int
    decode_ns: int
    prompt_tokens: int
    decoded: int
    tokens: tuple[int, ...]

    @property
    def prefill_tokens_per_s(self) -> float:
        """Return prompt tokens per second."""
        return self.prompt_tokens / self.prefill_ns * 1e9

    @property
    def decode_tokens_per_s(self) -> float:
        """Return decoded tokens per second, the choice of each token included; NaN where none was decoded."""
        return self.decoded / self.decode_ns * 1e9 if self.decoded else float("nan")


def _chunks(prompt: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for at in range(0, len(prompt), size):
        yield prompt[at : at + size]


class Progress(Protocol):
    """What a runner tells while it works; called between tokens, never within one."""

    def __call__(self, done: int, total: int, /) -> None: ...


def _silent(_done: int, _total: int, /) -> None:
    """Tell nobody."""


def _never(_token: int) -> bool:
    """Ignore end marks, so that every request is the same work."""
    return False


class Runner:
    """Decodes greedily, for a fixed number of tokens or until `ends` knows a token as the end mark."""

    def __init__(
        self,
        instrument: Instrument,
        ring: SpanRing,
        *,
        clock: Callable[[], int] = node_ns,
        sleep: Callable[[float], None] = time.sleep,
        ends: Callable[[int], bool] | None = None,
        progress: Progress = _silent,
    ) -> None:
        self.requests: list[Request] = []
        """Finished requests; those before an interruption stay."""
        self._context, self._tracer, self._plans = instrument.context, instrument.tracer, instrument.plans
        self._sequences = instrument.context.sequences
        self._ring, self._clock, self._sleep, self._progress = ring, clock, sleep, progress
        self._ends = ends or _never
        self._done = self._total = 0
        self._begins_ns: list[int] = []
        self._ends_ns: list[int] = []
        self._written = self._held_ns = 0

    def run(self, work: Workload) -> list[Request]:
        """Do the whole workload and return its requests; interrupted, the spans so far are in the ring."""
        self._done, self._total = 0, work.tokens * (work.requests + work.warmup)
        for _ in range(work.warmup):
            self._warm_up(work)
        self._idle(work.idle_s)
        for number in range(work.requests):
            if number:
                self._idle(work.gap_s)
            self.requests.append(self._request(work, number))
        self._idle(work.idle_s)
        return self.requests

    def prefill(self, prompt: Sequence[int], size: int, request: int) -> int:
        """Put a prompt through the model, `size` tokens at a time, and return the token it predicts."""
        for chunk in _chunks(prompt, size):
            self._follow(len(chunk))
            begin_ns = self._clock()
            self._context.decode(chunk)
            for boundaries_ns in self._tracer.boundaries_ns((begin_ns,)) or ():
                self._write_inside(boundaries_ns, PREFILL, request, -1, len(chunk) * self._sequences)
        return self._context.greedy()

    def decode(self, token: int, count: int, request: int) -> list[int]:
        """Decode up to `count` tokens from `token` on and return those that follow it."""
        return list(self.decoding(token, count, request))

    def decoding(self, token: int, count: int, request: int) -> Iterator[int]:
        """Yield the same tokens one by one; behind the last one all their spans are written."""
        self._follow(1)
        finished = False
        self._held_ns = self._written = 0
        try:
            for _ in range(count):
                if self._ends(token):
                    break
                token = self._decode_one(token, request)
                yield token
            finished = True
        finally:
            self._write_tokens(request, cut_off=not finished)

    def _decode_one(self, token: int, request: int) -> int:
        """The hot path: behind a computation the caches are cold, so what can wait is done for several tokens at once."""
        begin_ns = self._clock()
        self._context.decode_one(token)
        end_ns = self._clock()
        self._begins_ns.append(begin_ns)
        self._ends_ns.append(end_ns)
        self._held_ns += end_ns - begin_ns
        if self._held_ns > HOLD_NS or len(self._ends_ns) >= MOST_HELD:
            self._write_tokens(request)
            self._held_ns = 0
        return self._context.greedy()

    def _write_tokens(self, request: int, *, cut_off: bool = False) -> None:
        """Write the spans of the tokens decoded since the last time."""
        begins_ns, ends_ns, batch = self._begins_ns, self._ends_ns, self._sequences
        inside = self._tracer.boundaries_ns(begins_ns, cut_off=cut_off) or repeat(None)
        for begin_ns, end_ns, boundaries_ns in zip(begins_ns, ends_ns, inside, strict=False):
            if boundaries_ns is not None:
                self._write_inside(boundaries_ns, DECODE, request, self._written, batch)
            self._ring.push(
                "token", begin_ns, end_ns, phase=DECODE, request=request, token=self._written, count=batch, batch=batch
            )
            self._written += 1
        tokens = len(ends_ns)
        begins_ns.clear()
        ends_ns.clear()
        self._tracer.begin()
        if tokens:
            self._step(tokens)

    def _write_inside(self, boundaries_ns: array[int], phase: int, request: int, token: int, count: int) -> None:
        plan = self._tracer.plan
        assert plan is not None
        batch = self._sequences
        self._ring.push_block(plan.block, boundaries_ns, phase=phase, request=request, token=token, count=count, batch=batch)

    def _follow(self, tokens: int) -> None:
        """Have the next computations stamped, of so many tokens of each sequence."""
        if self._plans is not None:
            self._tracer.follow(self._plans.prefill if tokens > 1 else self._plans.decode)
        self._tracer.begin()

    def _request(self, work: Workload, number: int) -> Request:
        prompt = work.prompts[number % len(work.prompts)]
        self._context.forget()
        begin_ns = self._clock()
        first = self.prefill(prompt, work.chunk, number)
        middle_ns = self._clock()
        batch = self._sequences
        known = len(prompt) * batch
        self._ring.push("prefill", begin_ns, middle_ns, phase=PREFILL, request=number, count=known, batch=batch)
        rest = self.decode(first, work.tokens, number)
        end_ns = self._clock()
        new = len(rest) * batch
        if rest:
            self._ring.push("decode", middle_ns, end_ns, phase=DECODE, request=number, count=new, batch=batch)
        self._ring.push("request", begin_ns, end_ns, request=number, count=known + new, batch=batch)
        return Request(middle_ns - begin_ns, end_ns - middle_ns, known, new, (first, *rest))

    def _warm_up(self, work: Workload) -> None:
        """The same work, written as one span: what happens inside it does not count."""
        prompt = work.prompts[0]
        self._context.forget()
        begin_ns = self._clock()
        for chunk in _chunks(prompt, work.chunk):
            self._context.decode(chunk)
        for _ in range(work.tokens):
            self._context.decode_one(self._context.greedy())
            self._step(1)
        batch = self._sequences
        self._ring.push("warmup", begin_ns, self._clock(), count=(len(prompt) + work.tokens) * batch, batch=batch)

    def _step(self, tokens: int) -> None:
        self._done += tokens
        self._progress(self._done, self._total)

    def _idle(self, seconds: float) -> None:
        """Sleep, and write down that nothing ran, also where the sleep was interrupted."""
        if seconds <= 0:
            return
        begin_ns = self._clock()
        try:
            self._sleep(seconds)
        finally:
            self._ring.push("idle", begin_ns, self._clock())
