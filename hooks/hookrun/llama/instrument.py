"""Makes a context whose computations are understood: chooses the callback, reads the graph, checks the calls against it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import HookrunError
from .opmap import OpMapError, SpanPlan
from .tracer import Plans, Stamps, Tracer, plan_for

if TYPE_CHECKING:
    from .engine import Context, Engine
    from .settings import ContextSettings

PREFILL_PROBE_TOKENS = 2
"""The graph of a prompt has the same nodes for any number of tokens above one."""

_IN_PYTHON = (
    "stamps are taken in Python, which costs some percent of a small model's speed, because hookrun was installed without its "
    "compiled part; install it again where a C compiler and Python's headers are found"
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A context, the tracer that listens to it, and the plans of its computations (None: spans inside a token are off)."""

    context: Context
    tracer: Tracer
    plans: Plans | None
    warnings: tuple[str, ...] = ()


def instrument(
    engine: Engine,
    settings: ContextSettings,
    mode: Stamps | None = None,
    *,
    without_attention: Collection[int] = (),
    compiled: bool | None = None,
    remote: bool = False,
) -> Instrument:
    """Return an instrumented context. `mode` None takes the cheapest that is understood, and says so where it is not the first.

    Operations on `remote` machines call nothing here, so there only the evaluation callback sees layers.

    Raises HookrunError where a mode asked for by name cannot be had.
    """
    warnings: list[str] = []
    untold = (Stamps.EVAL,) if remote else (Stamps.ABORT, Stamps.EVAL)
    for candidate in untold if mode is None else (mode,):
        tracer = Tracer(candidate, compiled=compiled)
        context = engine.context(settings, tracer.node_callback)
        tracer.attach(context)
        try:
            plans = None if candidate is Stamps.OFF else _plans(engine, settings, context, tracer, without_attention)
        except OpMapError as error:
            context.close()
            warnings.append(_sentence(candidate, error))
            continue
        if tracer.by == "Python" and compiled is None:
            warnings.append(_IN_PYTHON)
        return Instrument(context, tracer, plans, tuple(warnings))
    if mode is not None:
        raise HookrunError(warnings[-1])
    return Instrument(engine.context(settings), Tracer(Stamps.OFF), None, tuple(warnings))


def _plans(
    engine: Engine, settings: ContextSettings, context: Context, tracer: Tracer, without_attention: Collection[int]
) -> Plans:
    def plan(tokens: int) -> SpanPlan:
        return plan_for(tracer.mode, engine.graph(settings, tokens), tracer.calls(context, tokens), without_attention)

    return Plans(prefill=plan(PREFILL_PROBE_TOKENS), decode=plan(1))


def _sentence(mode: Stamps, error: OpMapError) -> str:
    if mode is Stamps.ABORT:
        return f"stamps after each operation are not understood ({error}); --stamps eval cuts the graph at each layer instead"
    return f"layers cannot be told apart in this model ({error}); --stamps off measures tokens without layers"
