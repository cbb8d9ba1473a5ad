"""Runs prompts through an instrumented context and writes what ran when as spans."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Protocol

from epi_protocol.events import KIND

from ..clock import node_ns
from ..sending.ring import SpanRing
from .instrument import Instrument
from .settings import BATCH_TOKENS, Row

PREFILL, DECODE = KIND["prefill"], KIND["decode"]
HOLD_NS = 400_000_000
"""Time of computations whose spans may wait to be written."""
MOST_HELD = 64
"""Tokens that wait at most: their stamps have to find room in the stamper's array."""
BRIEF_NS = 50_000_000
"""Computations shorter than this may keep other threads waiting for the interpreter."""


@dataclass(frozen=True, slots=True)
class Workload:
    """All prompts in turn, `repeat` times, `tokens` decoded tokens each, after `warmup` requests that do not count.

    `idle_s` of sleep before the first request and after the last, `gap_s` between two; `chunk` tokens of prompt of each sequence
    per computation. A prompt of a request that computes several prompts side by side consists of rows.
    """

    prompts: tuple[tuple[Row, ...], ...]
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


def _chunks(prompt: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Yield up to `size` rows at a time, of as many sequences each: the engine would compute others in several parts."""
    for _sequences, alike in groupby(prompt, _sequences_in):
        rows = list(alike)
        for at in range(0, len(rows), size):
            yield rows[at : at + size]


def _sequences_in(row: Row) -> int:
    return 1 if isinstance(row, int) else len(row) - row.count(None)


def _of_first(row: Row) -> int:
    """Return the first sequence's token of a row without gaps."""
    token = row if isinstance(row, int) else row[0]
    assert token is not None
    return token


class Progress(Protocol):
    """What a runner tells while it works; called between tokens, never within one."""

    def __call__(self, done: int, total: int, /) -> None: ...


def _silent(_done: int, _total: int, /) -> None:
    """Tell nobody."""


class Runner:
    """Decodes greedily, until `ends` knows a token as the end mark; without, for a fixed number of tokens."""

    def __init__(
        self,
        instrument: Instrument,
        ring: SpanRing,
        *,
        clock: Callable[[], int] = node_ns,
        sleep: Callable[[float], None] = time.sleep,
        ends: Callable[[Row], bool] | None = None,
        progress: Progress = _silent,
    ) -> None:
        self.requests: list[Request] = []
        """Finished requests; those before an interruption stay."""
        self._context, self._tracer, self._plans = instrument.context, instrument.tracer, instrument.plans
        self._sequences = instrument.context.sequences
        self._ring, self._clock, self._sleep, self._progress = ring, clock, sleep, progress
        self._ends = ends
        self._done = self._total = 0
        self._took_ns: list[tuple[int, int]] = []
        self._written = 0
        self._brief, self._room = False, 1

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

    def prefill(self, prompt: Sequence[Row], size: int, request: int) -> int:
        """Put a prompt through the model, `size` tokens at a time, and return how many went in, over all sequences."""
        known = 0
        for chunk in _chunks(prompt, size):
            self._follow(len(chunk))
            begin_ns = self._clock()
            count = self._context.decode(chunk)
            for boundaries_ns in self._tracer.boundaries_ns((begin_ns,)) or ():
                self._write_inside(boundaries_ns, PREFILL, request, -1, count, count // len(chunk))
            known += count
        return known

    def decode(self, token: Row, count: int, request: int) -> list[Row]:
        """Decode up to `count` tokens from `token` on and return those that follow it."""
        return list(self.decoding(token, count, request))

    def decoding(self, token: Row, count: int, request: int) -> Iterator[Row]:
        """Yield the same tokens one by one; behind the last one all their spans are written.

        The hot path: behind a computation the caches are cold, so what can wait is done for several tokens at once.
        """
        context, clock, ends, took_ns = self._context, self._clock, self._ends, self._took_ns
        finished = False
        self._follow(1)
        self._written = 0
        try:
            for _ in range(count):
                if ends is not None and ends(token):
                    break
                begin_ns = clock()
                context.decode_one(token, self._brief)
                took_ns.append((begin_ns, clock()))
                if len(took_ns) >= self._room:
                    self._write_tokens(request)
                token = context.greedy()
                yield token
            finished = True
        finally:
            if took_ns or not finished:
                self._write_tokens(request, cut_off=not finished)

    def _write_tokens(self, request: int, *, cut_off: bool = False) -> None:
        """Write the spans of the tokens decoded since the last time; how long they took says how many may wait the next time."""
        took_ns, batch = self._took_ns, self._sequences
        inside = self._tracer.boundaries_ns([begin_ns for begin_ns, _end_ns in took_ns], cut_off=cut_off) or repeat(None)
        longest_ns = 1
        for (begin_ns, end_ns), boundaries_ns in zip(took_ns, inside, strict=False):
            if boundaries_ns is not None:
                self._write_inside(boundaries_ns, DECODE, request, self._written, batch, batch)
            self._ring.push(
                "token", begin_ns, end_ns, phase=DECODE, request=request, token=self._written, count=batch, batch=batch
            )
            self._written += 1
            longest_ns = max(longest_ns, end_ns - begin_ns)
        tokens = len(took_ns)
        took_ns.clear()
        self._tracer.begin()
        if tokens:
            self._step(tokens)
            self._brief, self._room = longest_ns < BRIEF_NS, min(MOST_HELD, HOLD_NS // longest_ns)

    def _write_inside(self, boundaries_ns: array[int], phase: int, request: int, token: int, count: int, batch: int) -> None:
        plan = self._tracer.plan
        assert plan is not None
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
        known = self.prefill(prompt, work.chunk, number)
        first = self._context.greedy()
        middle_ns = self._clock()
        batch = self._sequences
        self._ring.push("prefill", begin_ns, middle_ns, phase=PREFILL, request=number, count=known, batch=batch)
        rest = self.decode(first, work.tokens, number)
        end_ns = self._clock()
        new = len(rest) * batch
        if rest:
            self._ring.push("decode", middle_ns, end_ns, phase=DECODE, request=number, count=new, batch=batch)
        self._ring.push("request", begin_ns, end_ns, request=number, count=known + new, batch=batch)
        return Request(middle_ns - begin_ns, end_ns - middle_ns, known, new, tuple(map(_of_first, (first, *rest))))

    def _warm_up(self, work: Workload) -> None:
        """The same work, written as one span: what happens inside it does not count."""
        prompt = work.prompts[0]
        self._context.forget()
        begin_ns = self._clock()
        known = sum(map(self._context.decode, _chunks(prompt, work.chunk)))
        for _ in range(work.tokens):
            self._context.decode_one(self._context.greedy())
            self._step(1)
        batch = self._sequences
        self._ring.push("warmup", begin_ns, self._clock(), count=known + work.tokens * batch, batch=batch)

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
