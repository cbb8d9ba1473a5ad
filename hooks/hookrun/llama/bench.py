"""Ways to decode the same tokens with one model: bare, and with each kind of stamps. What `comparison.compare` compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from epi_protocol import events
from epi_protocol.events import SpanBatch

from ..comparison import Arm
from ..errors import HookrunError
from ..sending.ring import SpanRing
from .instrument import instrument
from .model import Model
from .runner import Runner
from .settings import ContextSettings, Row
from .tracer import Stamps

if TYPE_CHECKING:
    from .engine import Context, Engine

PROMPT = "Four score and seven years ago our fathers brought forth on this continent"
CONTEXT_TOKENS = 512


class Bench:
    """Makes arms that decode the same `tokens` behind the same prompt, a token each turn.

    All arms share one context, with callbacks set and taken away: two contexts of a model differ by a percent in speed, as their
    memory lies in other places. Only the evaluation callback belongs to a context for life, and has one of its own.

    An arm's last turn also takes the spans of all its tokens out of the ring and packs them. In a run another thread does that,
    but here it would do it in whichever arm's turn it is.
    """

    def __init__(self, engine: Engine, model: Model, settings: ContextSettings, tokens: int) -> None:
        self.tokens = tokens
        self.spans_per_token: dict[str, float] = {}
        self._engine, self._model, self._settings = engine, model, settings
        self._rings: list[SpanRing] = []
        self._prompt = engine.tokenize(PROMPT)
        if len(self._prompt) + tokens > settings.tokens:
            room = settings.tokens - len(self._prompt)
            raise HookrunError(f"--tokens {tokens} does not fit behind the prompt; at most {room} do")
        self._context = engine.context(settings)
        self._first = self._behind_prompt(self._context)

    def bare(self, name: str) -> Arm:
        """Return the way without anything of ours."""
        context = self._context

        def decoding() -> Iterator[Row]:
            token = self._first
            for _ in range(self.tokens):
                context.decode_one(token)
                token = context.greedy()
                yield token

        return self._arm(name, context, decoding)

    def stamped(self, name: str, mode: Stamps, *, compiled: bool | None = None) -> Arm:
        """Return the way of a measured run; HookrunError where these stamps cannot be had."""
        made = instrument(self._engine, self._settings, mode, without_attention=self._model.without_attention, compiled=compiled)
        if mode is Stamps.EVAL:
            self._behind_prompt(made.context)
        else:
            made.context.close()
            made = replace(made, context=self._context)
        ring, tracer, context = SpanRing(), made.tracer, made.context
        runner = Runner(made, ring)
        self._rings.append(ring)

        def decoding() -> Iterator[Row]:
            yield from runner.decoding(self._first, self.tokens, 0)
            self.spans_per_token[name] = _packed(ring) / self.tokens

        return self._arm(name, context, decoding, lambda: tracer.attach(context), lambda: tracer.detach(context))

    @property
    def spans_lost(self) -> int:
        """Return the spans that found no room in a ring."""
        return sum(ring.dropped for ring in self._rings)

    def _arm(
        self,
        name: str,
        context: Context,
        decoding: Callable[[], Iterator[Row]],
        attach: Callable[[], None] = lambda: None,
        detach: Callable[[], None] = lambda: None,
    ) -> Arm:
        turns = _Turns(self.tokens, decoding)

        def before() -> None:
            context.forget(len(self._prompt) + turns.next())
            attach()

        return Arm(name, turns.take, before, detach)

    def _behind_prompt(self, context: Context) -> Row:
        """Put the prompt into a context and return the token it predicts."""
        for at in range(0, len(self._prompt), self._settings.chunk):
            context.decode(self._prompt[at : at + self._settings.chunk])
        return context.greedy()


class _Turns:
    """Takes the tokens of one decoding after the other, a token at a time."""

    def __init__(self, tokens: int, decoding: Callable[[], Iterator[Row]]) -> None:
        self._last, self._decoding = tokens - 1, decoding
        self._taken = self._last
        self._tokens: Iterator[Row] = iter(())

    def next(self) -> int:
        """Prepare for the next token and return its number."""
        self._taken += 1
        if self._taken > self._last:
            self._taken, self._tokens = 0, self._decoding()
        return self._taken

    def take(self) -> None:
        """Decode it; the last one with all that is left to do behind it."""
        next(self._tokens)
        if self._taken == self._last:
            next(self._tokens, None)


def _packed(ring: SpanRing) -> int:
    count, columns = ring.drain(ring.capacity)
    events.pack("spans", SpanBatch("", 0, count, ring.dropped, columns).to_map())
    return count
