"""Ways to decode the same tokens with one model: bare, and with each kind of stamps. What `overhead.compare` compares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..comparison import Arm
from ..errors import HookrunError
from ..sending.ring import SpanRing
from .instrument import instrument
from .model import Model
from .runner import Runner
from .settings import ContextSettings
from .tracer import Stamps

if TYPE_CHECKING:
    from .engine import Context, Engine

PROMPT = "Four score and seven years ago our fathers brought forth on this continent"
CONTEXT_TOKENS = 512


class Bench:
    """Makes arms that decode the same tokens behind the same prompt. Spans go into `ring`.

    All arms share one context, with callbacks set and taken away: two contexts of a model differ by a percent in speed, as their
    memory lies in other places. Only the evaluation callback belongs to a context for life, and has one of its own.
    """

    def __init__(self, engine: Engine, model: Model, settings: ContextSettings, tokens: int, ring: SpanRing) -> None:
        self._engine, self._model, self._settings, self._tokens, self._ring = engine, model, settings, tokens, ring
        self._prompt = engine.tokenize(PROMPT)
        if len(self._prompt) + tokens > settings.tokens:
            room = settings.tokens - len(self._prompt)
            raise HookrunError(f"--tokens {tokens} does not fit behind the prompt; at most {room} do")
        self._context = engine.context(settings)
        self._first = self._behind_prompt(self._context)

    def bare(self, name: str) -> Arm:
        """Return the way without anything of ours."""
        context = self._context

        def burst() -> None:
            token = self._first
            context.forget(len(self._prompt))
            for _ in range(self._tokens):
                context.decode_one(token)
                token = context.greedy()

        return Arm(name, burst)

    def stamped(self, name: str, mode: Stamps, *, compiled: bool | None = None) -> Arm:
        """Return the way of a measured run; HookrunError where these stamps cannot be had."""
        made = instrument(self._engine, self._settings, mode, without_attention=self._model.without_attention, compiled=compiled)
        if mode is Stamps.EVAL:
            self._behind_prompt(made.context)
        else:
            made.context.close()
            made = replace(made, context=self._context)
        runner = Runner(made, self._ring)

        def burst() -> None:
            made.context.forget(len(self._prompt))
            runner.decode(self._first, self._tokens, 0)

        tracer, context = made.tracer, made.context
        return Arm(name, burst, before=lambda: tracer.attach(context), after=lambda: tracer.detach(context))

    def _behind_prompt(self, context: Context) -> int:
        """Put the prompt into a context and return the token it predicts."""
        for at in range(0, len(self._prompt), self._settings.chunk):
            context.decode(self._prompt[at : at + self._settings.chunk])
        return context.greedy()
