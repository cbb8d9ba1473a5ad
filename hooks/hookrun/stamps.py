"""Stampers: an engine's callbacks that note the time of each call. Compiled where it could be built, else in Python."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Container, Sequence
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
    calls: int
    stored: int
    overflow: int
    stop: int

    def watch(self, calls: Sequence[int] | None, /) -> None:
        """Stamp only these calls of a computation (ascending, counted from 0), or every call with None."""

    def reset(self) -> None:
        """Forget the stamps and calls of the last computation."""


class PythonStamper:
    """The same as the compiled one, at about 1 µs per call instead of nanoseconds, and holding the GIL."""

    def __init__(self, times_ns: array[int], clock: Callable[[], int] = node_ns) -> None:
        self._times_ns, self._clock = times_ns, clock
        self.calls = self.stored = self.overflow = self.stop = 0
        self._watched: Container[int] = _EVERY
        # The objects are kept because the engine holds nothing but their addresses.
        self._op = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(self._after_op)
        self._node = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)(self._around_node)
        self.op_address = ctypes.cast(self._op, ctypes.c_void_p).value or 0
        self.node_address = ctypes.cast(self._node, ctypes.c_void_p).value or 0
        self.data_address = 0

    def watch(self, calls: Sequence[int] | None, /) -> None:
        if calls is not None and any(call <= before for before, call in zip((-1, *calls), calls, strict=False)):
            raise ValueError("call numbers must ascend from 0")
        self._watched = _EVERY if calls is None else frozenset(calls)
        self.reset()

    def reset(self) -> None:
        self.calls = self.stored = 0

    def _after_op(self, _data: object) -> int:
        call = self.calls
        self.calls = call + 1
        if call in self._watched:
            self._store()
        return self.stop

    def _around_node(self, _tensor: object, ask: bool, _data: object) -> bool:
        if not ask:
            self._store()
            return not self.stop
        call = self.calls
        self.calls = call + 1
        return call in self._watched

    def _store(self) -> None:
        if self.stored >= len(self._times_ns):
            self.overflow += 1
            return
        self._times_ns[self.stored] = self._clock()
        self.stored += 1


def compiled_stamper(times_ns: array[int]) -> Stamper | None:
    """Return the compiled stamper, or None where it was not built at install."""
    try:
        from ._stamp import Stamper as Compiled
    except ImportError:
        return None
    stamper: Stamper = Compiled(times_ns)
    return stamper
