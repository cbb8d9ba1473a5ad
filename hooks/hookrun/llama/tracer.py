"""Times inside one computation of the engine: which callback, which calls of it, and the check that the calls are understood."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..errors import HookrunError
from ..python_stamper import PythonStamper
from ..stamps import MAX_STAMPS, Stamper, compiled_stamper
from .opmap import Node, OpMapError, SpanPlan, executed, span_plan


class Stamps(StrEnum):
    """How times inside a computation are taken."""

    ABORT = "abort"
    """The abort callback: called after each operation within one computation; costs next to nothing."""
    EVAL = "eval"
    """The evaluation callback: the computation is cut and synchronised at each stamp; a documented interface."""
    OFF = "off"
    """Not at all: spans of requests, phases and tokens only."""


class Stopped(Exception):
    """A callback asked the engine to stop, and it did."""


@dataclass(frozen=True, slots=True)
class Plans:
    """The span plans of the two shapes of computation."""

    prefill: SpanPlan
    decode: SpanPlan


class _Context(Protocol):
    def decode(self, tokens: Sequence[int]) -> object: ...
    def forget(self, position: int = 0) -> None: ...
    def set_op_callback(self, callback: tuple[int, int] | None, holding: tuple[int, int] | None = None) -> None: ...


class Tracer:
    """Stamps the ends of spans. `begin`, let the engine compute once or several times, then ask for `boundaries_ns`."""

    def __init__(self, mode: Stamps, *, compiled: bool | None = None) -> None:
        """`compiled` insists on stamps taken in C (True) or in Python (False); None takes what there is."""
        self.mode = mode
        self.unmapped = 0
        self._times_ns = array("q", bytes(8 * (1 + MAX_STAMPS)))  # where a computation began, and its stamps
        self._stamper: Stamper | None = None
        self.by = "none"
        if mode is not Stamps.OFF:
            self._stamper, self.by = _stamper(memoryview(self._times_ns)[1:], compiled)
        self._plan: SpanPlan | None = None

    @property
    def node_callback(self) -> tuple[int, int] | None:
        """Return (address, user data) that a context of this tracer has to be made with."""
        if self._stamper is None or self.mode is not Stamps.EVAL:
            return None
        return self._stamper.node_address, self._stamper.data_address

    def attach(self, context: _Context) -> None:
        """Let the context call the stamper."""
        stamper = self._stamper
        if stamper is not None and self.mode is Stamps.ABORT:
            holding = stamper.holding_op if isinstance(stamper, PythonStamper) else None
            context.set_op_callback((stamper.op_address, stamper.data_address), holding)

    def detach(self, context: _Context) -> None:
        """Let the context call nothing."""
        if self.mode is Stamps.ABORT:
            context.set_op_callback(None)

    def follow(self, plan: SpanPlan | None) -> None:
        """Stamp the ends of this plan's spans in the computations to come."""
        self._plan = plan
        if self._stamper is not None:
            self._stamper.watch(plan.ends if plan is not None else ())

    def begin(self) -> None:
        """Forget the stamps of the computations so far."""
        if self._stamper is not None:
            self._stamper.reset()

    def stop(self) -> None:
        """End the running computation at its next call; for a signal that arrives while the engine computes."""
        if self._stamper is not None:
            self._stamper.stop = 1

    def boundaries_ns(self, begins_ns: Sequence[int], *, cut_off: bool = False) -> list[array[int]] | None:
        """Return, of each computation since `begin`, when it began and the end of each span of the plan.

        None where there is no plan, and, counted in `unmapped`, where the engine's calls were not the planned ones. With
        `cut_off` another computation followed that was not finished.
        """
        plan, stamper = self._plan, self._stamper
        if plan is None or stamper is None:
            return None
        spans, count = len(plan.ends), len(begins_ns)
        surplus = stamper.calls - count * plan.calls, stamper.stored - count * spans
        if surplus != (0, 0) and not (cut_off and min(surplus) >= 0):
            self.unmapped += count
            return None
        times_ns = self._times_ns
        found = []
        for number, begin_ns in enumerate(begins_ns):
            boundaries_ns = times_ns[number * spans : (number + 1) * spans + 1]
            boundaries_ns[0] = begin_ns
            found.append(boundaries_ns)
        return found

    @property
    def plan(self) -> SpanPlan | None:
        """Return the plan that is followed."""
        return self._plan

    def calls(self, context: _Context, tokens: int) -> int:
        """Return how often the engine calls back while it computes `tokens` tokens."""
        self.follow(None)
        context.decode([0] * tokens)
        context.forget()
        return self._stamper.calls if self._stamper is not None else 0


def plan_for(mode: Stamps, nodes: Sequence[Node], calls: int, without_attention: Collection[int]) -> SpanPlan:
    """Return the plan for a graph in which `calls` calls were seen; OpMapError if they are not those that its nodes explain."""
    every_node = [node.name for node in nodes]
    readings = [every_node] if mode is Stamps.EVAL else [executed(nodes), executed(nodes, fused=False)]
    for names in readings:
        if len(names) == calls:
            return span_plan(names, without_attention)
    predicted = " or ".join(str(len(names)) for names in readings)
    raise OpMapError(f"the engine made {calls} calls for a graph that explains {predicted}")


def _stamper(times_ns: memoryview[int], compiled: bool | None) -> tuple[Stamper, str]:
    stamper = None if compiled is False else compiled_stamper(times_ns)
    if stamper is not None:
        return stamper, "C"
    if compiled:
        raise HookrunError("the compiled stamps are not installed; install hookrun where a C compiler is found")
    return PythonStamper(times_ns), "Python"
