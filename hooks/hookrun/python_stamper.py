"""Stamps without a compiler: callbacks made of the interpreter's own compiled pieces."""

from __future__ import annotations

import ctypes
import time
from array import array
from collections.abc import Container, Sequence
from itertools import chain, repeat, starmap
from operator import sub

from .clock import node_ns

_CYCLE = 512
"""Calls between two looks at where a computation ends, where every call is stamped."""
_LOOKS, _CLOSE_NS = 5, 3_000
"""How often two clocks are read in turn until nothing came between, and the time within which nothing did."""
_EVERY = range(1 << 62)  # `in` on a range is arithmetic, so it costs what a set costs


class PythonStamper:
    """The same as the compiled one, at some hundred nanoseconds per call, and holding the GIL.

    What the engine calls is `__next__` of a chain of lists, one list for each stretch of calls that begins with a watched one.
    Within a list a call costs hardly more than its way into the interpreter. To begin a list the chain asks for it through
    `dict.setdefault(now, list)`, which returns the list and has noted the time; that is the stamp. Behind the last call of a
    computation stands the gate, an empty list that the chain passes over; a look through it tells how many calls were made.

    Much of that way is ctypes taking the GIL and giving it back. A thread that keeps the GIL while it is inside the engine can
    have `holding_op` called instead: the interpreter's own PyObject_IsTrue, on an object whose `__bool__` is that `__next__`.

    The stamps are of CLOCK_MONOTONIC, which Python reads in half the time of any other; it is slewed by at most 0.05 %, and
    `stored` places them in the node's clock. Once they have been read, `reset` must come before the next computation.
    """

    def __init__(self, times_ns: array[int] | memoryview[int]) -> None:
        self._times_ns = memoryview(times_ns)
        self._halted = False
        self._gate: list[object] = []
        self._lists: list[list[object]] = []  # of what the calls answer: bools
        self._layout = [self._lists]  # read anew for each cycle, so that other lists can take their place
        self._begun: dict[int, list[object]] = {}  # lists by the time at which they were begun, in order
        now = starmap(time.monotonic_ns, repeat(()))
        lists = chain.from_iterable(chain.from_iterable(repeat(self._layout)))
        self._answers = chain.from_iterable(map(self._begun.setdefault, now, lists))
        self._made: tuple[int, list[int]] | None = None
        self._after_nodes: list[int] = []
        self._asked = self._lost = 0
        self._wanted: Container[int] = _EVERY
        self._lay_out(None)
        # The objects are kept because the engine holds nothing but their addresses. An argument not declared is passed over.
        self._op = ctypes.CFUNCTYPE(ctypes.c_bool)(self._answers.__next__)
        self._node = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)(self._around_node)
        self._truth = type("Answers", (), {"__bool__": self._answers.__next__})()
        self.op_address, self.node_address = _address(self._op), _address(self._node)
        self.data_address = 0
        self.holding_op = _address(ctypes.pythonapi.PyObject_IsTrue), id(self._truth)

    @property
    def calls(self) -> int:
        return self._asked or self._finished()[0]

    @property
    def stored(self) -> int:
        """Bring the stamps into the array and return how many found room there."""
        if self._asked:
            stamps, behind_ns = self._after_nodes, 0
        else:
            stamps, behind_ns = self._finished()[1], _node_behind_monotonic_ns()
        stored = min(len(stamps), len(self._times_ns))
        self._times_ns[:stored] = array("q", map(sub, stamps[:stored], repeat(behind_ns)))
        return stored

    @property
    def overflow(self) -> int:
        stamps = self._after_nodes if self._asked else self._finished()[1]
        return self._lost + max(0, len(stamps) - len(self._times_ns))

    @property
    def stop(self) -> int:
        return int(self._halted)

    @stop.setter
    def stop(self, wanted: int) -> None:
        self._halted = bool(wanted)
        for answers in self._lists[:-1]:  # the gate stays empty
            answers[:] = [self._halted] * len(answers)

    def watch(self, calls: Sequence[int] | None, /) -> None:
        if calls is not None and any(call <= before for before, call in zip((-1, *calls), calls, strict=False)):
            raise ValueError("call numbers must ascend from 0")
        self.reset()
        self._wanted = _EVERY if calls is None else frozenset(calls)
        self._lay_out(calls)

    def reset(self) -> None:
        self._lost = self.overflow
        self._made = None
        self._after_nodes.clear()
        self._asked = 0

    def _lay_out(self, calls: Sequence[int] | None) -> None:
        """Make the lists anew: those from which one is watched to the next, and before the first watched one."""
        if not calls:
            lengths = [1] * _CYCLE if calls is None else [_CYCLE]
            self._unwatched = 0 if calls is None else _CYCLE
        else:
            lengths = [call - before for before, call in zip((0, *calls), (*calls, calls[-1] + 1), strict=True)]
            self._unwatched = calls[0]
        self._cycle = sum(lengths)
        self._lists = [*(list[object]([self._halted] * length) for length in lengths if length), self._gate]
        self._layout[0] = self._lists

    def _finished(self) -> tuple[int, list[int]]:
        """Return the calls made since the last reset and the times of the watched ones; the chain then stands at its start."""
        if self._made is None:
            begun = [(at_ns, what) for at_ns, what in self._begun.items() if what is not self._gate]
            cycles = sum(what is self._lists[0] for _at_ns, what in begun)
            not_made = self._to_the_gate() if begun else 0
            before = self._lists[0] if self._unwatched else None  # the list that no watched call begins
            self._made = cycles * self._cycle - not_made, [at_ns for at_ns, what in begun if what is not before]
            self._begun.clear()
        return self._made

    def _to_the_gate(self) -> int:
        """Go through the gate and return the calls that were left before it."""
        left = 0
        self._gate.append(self._gate)
        while next(self._answers) is not self._gate:
            left += 1
        self._gate.clear()
        return left

    def _around_node(self, _tensor: object, ask: bool, _data: object) -> bool:
        if not ask:
            self._after_nodes.append(node_ns())
            return not self._halted
        call = self._asked
        self._asked = call + 1
        return call % self._cycle in self._wanted


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


def _node_behind_monotonic_ns() -> int:
    """Return how far the node's clock is behind CLOCK_MONOTONIC now."""
    for _ in range(_LOOKS):
        before_ns, raw_ns, after_ns = time.monotonic_ns(), node_ns(), time.monotonic_ns()
        if after_ns - before_ns < _CLOSE_NS:
            break
    return (before_ns + after_ns) // 2 - raw_ns
