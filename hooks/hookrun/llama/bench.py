"""Ways to decode the same tokens with one model: bare, and with each kind of stamps. What `overhead.compare` compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..comparison import Arm
from ..errors import HookrunError
from ..sending.ring import SpanRing
from .instrument import Instrument, instrument
from .model import Model
from .runner import Runner
from .settings import ContextSettings
from .tracer import Stamps

if TYPE_CHECKING:
    from .engine import Engine

PROMPT = "Four score and seven years ago our fathers brought forth on this continent"
CONTEXT_TOKENS = 512


class Bench:
    """Makes arms: contexts of one model, all at the same place behind the same prompt. Spans go into `ring`."""

    def __init__(self, engine: Engine, model: Model, settings: ContextSettings, tokens: int, ring: SpanRing) -> None:
        self._engine, self._model, self._settings, self._tokens, self._ring = engine, model, settings, tokens, ring
        self._prompt = engine.tokenize(PROMPT)
        if len(self._prompt) + tokens > settings.tokens:
            room = settings.tokens - len(self._prompt)
            raise HookrunError(f"--tokens {tokens} does not fit behind the prompt; at most {room} do")

    def bare(self, name: str) -> Arm:
        """Return the way without anything of ours."""
        context = self._engine.context(self._settings)
        context.decode(self._prompt)
        first = context.greedy()

        def burst() -> None:
            token = first
            context.forget(len(self._prompt))
            for _ in range(self._tokens):
                context.decode_one(token)
                token = context.greedy()

        return Arm(name, burst)

    def stamped(self, name: str, mode: Stamps, *, compiled: bool | None = None) -> Arm:
        """Return the way of a measured run; HookrunError where these stamps cannot be had."""
        without = self._model.without_attention
        return self.of(name, instrument(self._engine, self._settings, mode, without_attention=without, compiled=compiled))

    def of(self, name: str, made: Instrument) -> Arm:
        """Return the way of a context that stands already."""
        runner = Runner(made, self._ring)
        first = runner.prefill(self._prompt, self._settings.batch, 0)

        def burst() -> None:
            made.context.forget(len(self._prompt))
            runner.decode(first, self._tokens, 0)

        return Arm(name, burst)
