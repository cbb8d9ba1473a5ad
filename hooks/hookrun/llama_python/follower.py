"""Follows the computations of the program's llama.cpp contexts and writes their spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..clock import node_ns
from ..llama.instrument import PREFILL_PROBE_TOKENS
from ..llama.opmap import OpMapError
from ..llama.tracer import Plans, Stamps, Tracer, plan_for
from ..program.requests import Requests
from ..sending.ring import SpanRing
from .borrowed import BorrowedContext, BorrowedModel, silenced

_OTHER_CALLS = "some computations of llama.cpp made other calls than the planned ones; they are recorded without layers"


class Follower:
    """One context. Its spans lie between the ends of the engine's own operations, as in `hookrun llama`."""

    def __init__(self, c: Any, context: Any, without_attention: frozenset[int], warn: Callable[[str], None]) -> None:
        self._c, self._warn = c, warn
        self._tracer = Tracer(Stamps.ABORT)
        self._borrowed = BorrowedContext(c, context.ctx)
        with silenced(c):
            self._plans = self._understood(BorrowedModel(c, context.model.model, context.params), without_attention)
            if self._plans is not None:
                self._tracer.attach(self._borrowed)

    @property
    def by(self) -> str:
        """Return what takes the stamps."""
        return self._tracer.by if self._plans is not None else "nothing"

    @property
    def calls_per_token(self) -> int:
        """Return the engine's calls per decoded token, 0 where layers are not told apart."""
        return self._plans.decode.calls if self._plans is not None else 0

    def decode(self, compute: Callable[[], Any], batch: Any, requests: Requests, ring: SpanRing) -> Any:
        """Carry out one computation of the program, and write when its parts ran."""
        plans, tracer = self._plans, self._tracer
        tokens = int(batch.n_tokens)
        place = requests.place(1, tokens, int(batch.pos[0]) if tokens and batch.pos else None)
        if plans is not None:
            tracer.follow(plans.prefill if tokens > 1 else plans.decode)
        tracer.begin()
        begin_ns = node_ns()
        result = compute()
        end_ns = node_ns()
        boundaries_ns, plan = tracer.boundaries_ns((begin_ns,)), tracer.plan
        if boundaries_ns is not None and plan is not None:
            ring.push_block(
                plan.block,
                boundaries_ns[0],
                phase=place.phase,
                request=place.request,
                token=place.token,
                count=place.count,
                batch=1,
            )
        elif plan is not None:
            self._warn(_OTHER_CALLS)
        requests.computed(place, begin_ns, end_ns)
        return result

    def detach(self) -> None:
        """Let the engine call nothing."""
        if self._plans is not None:
            with silenced(self._c):
                self._tracer.detach(self._borrowed)

    def _understood(self, model: BorrowedModel, without_attention: frozenset[int]) -> Plans | None:
        """Return the plans of prompts and of single tokens; None, said once, where the calls are not those of the graph."""
        probe = model.probe()
        if probe is None:
            self._warn("llama.cpp gives no second context to look at its graph; tokens are recorded without layers")
            return None
        self._tracer.attach(probe)
        try:
            prefill, decode = (
                plan_for(Stamps.ABORT, model.graph(tokens), self._tracer.calls(probe, tokens), without_attention)
                for tokens in (PREFILL_PROBE_TOKENS, 1)
            )
        except OpMapError as error:
            self._warn(f"layers cannot be told apart in this model ({error}); tokens are recorded without layers")
            return None
        finally:
            self._tracer.detach(probe)
            probe.close()
        return Plans(prefill=prefill, decode=decode)
