"""Stampers: an engine's callbacks that note the time of each call. Compiled where it could be built, else in Python."""

from __future__ import annotations

import ctypes
import time
from array import array
from collections.abc import Container, Sequence
from itertools import repeat
from typing import Protocol

from .clock import node_ns

MAX_STAMPS = 1 << 16
"""Stamps of one computation; a graph has about 17 operations per layer."""

_EVERY = range(1 << 62)  # `in` on a range is arithmetic, so it costs what a set costs


class Stamper(Protocol):
    """Counts the calls of one computation and stamps those watched, into the array it was made with."""

    op_address: int
    """Of a callback `bool (void *data)`, called after each operation."""
    node_address: int
    """Of a callback `bool (void *tensor, bool ask, void *data)`, called around each graph node."""
    data_address: int
    stop: int
    """Set to 1, the next call ends the computation."""

    @property
    def calls(self) -> int:
        """Return the calls since the last reset."""

    @property
    def stored(self) -> int:
        """Return how many stamps of watched calls stand in the array."""

    @property
    def overflow(self) -> int:
        """Return how many stamps found the array full, ever."""

    def watch(self, calls: Sequence[int] | None, /) -> None:
        """Stamp only these calls of a computation (ascending, counted from 0), or every call with None."""

    def reset(self) -> None:
        """Forget the stamps and calls of the last computation."""


class PythonStamper:
    """The same as the compiled one, at some hundred nanoseconds per call, and holding the GIL.

    The callback after an operation is a chain of the interpreter's own compiled pieces and runs no line of Python: it stamps
    every call, and the watched ones are picked out when `stored` is asked for.
    """

    def __init__(self, times_ns: array[int]) -> None:
        self._times_ns = times_ns
        self._after_ops: list[int] = []
        self._after_nodes: list[int] = []
        self._asked = self._lost = 0
        self._watched: Sequence[int] | None = None
        self._wanted: Container[int] = _EVERY
        self._answers: dict[None, bool] = {}  # `append` returns None, for which this holds the engine's answer
        stamps = map(time.clock_gettime_ns, repeat(time.CLOCK_MONOTONIC_RAW))
        chain = map(self._answers.get, map(self._after_ops.append, stamps))
        # The objects are kept because the engine holds nothing but their addresses. An argument not declared is passed over.
        self._op = ctypes.CFUNCTYPE(ctypes.c_bool)(chain.__next__)
        self._node = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)(self._around_node)
        self.op_address = ctypes.cast(self._op, ctypes.c_void_p).value or 0
        self.node_address = ctypes.cast(self._node, ctypes.c_void_p).value or 0
        self.data_address = 0

    @property
    def calls(self) -> int:
        return len(self._after_ops) + self._asked

    @property
    def stored(self) -> int:
        """Bring the stamps into the array and return how many found room there."""
        stamps = self._taken()[: len(self._times_ns)]
        self._times_ns[: len(stamps)] = array("q", stamps)
        return len(stamps)

    @property
    def overflow(self) -> int:
        return self._lost + max(0, len(self._taken()) - len(self._times_ns))

    @property
    def stop(self) -> int:
        return int(None in self._answers)

    @stop.setter
    def stop(self, wanted: int) -> None:
        if wanted:
            self._answers[None] = True
        else:
            self._answers.clear()

    def watch(self, calls: Sequence[int] | None, /) -> None:
        if calls is not None and any(call <= before for before, call in zip((-1, *calls), calls, strict=False)):
            raise ValueError("call numbers must ascend from 0")
        self.reset()
        self._watched = calls
        self._wanted = _EVERY if calls is None else frozenset(calls)

    def reset(self) -> None:
        self._lost = self.overflow
        self._after_ops.clear()
        self._after_nodes.clear()
        self._asked = 0

    def _taken(self) -> list[int]:
        if self._asked or self._watched is None:
            return self._after_nodes or self._after_ops
        made = len(self._after_ops)
        return [self._after_ops[call] for call in self._watched if call < made]

    def _around_node(self, _tensor: object, ask: bool, _data: object) -> bool:
        if not ask:
            self._after_nodes.append(node_ns())
            return not self._answers
        call = self._asked
        self._asked = call + 1
        return call in self._wanted


def compiled_stamper(times_ns: array[int]) -> Stamper | None:
    """Return the compiled stamper, or None where it was not built at install."""
    try:
        from ._stamp import Stamper as Compiled
    except ImportError:
        return None
    stamper: Stamper = Compiled(times_ns)
    return stamper
