"""The ways out of a program: its end, an exit without ceremony, another program in its place, a copy of itself."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from types import TracebackType
from typing import Any

from .import_watch import ImportWatch
from .patches import Patches
from .recorder import Recorder
from .tracebacks import without_hooks

_ABRUPT = ("_exit", "execv", "execve")
"""Functions of `os` after which nothing of this program runs; the other exec functions call these."""


class Exits:
    """Ends the run in time, whichever way the program leaves; a forked copy lets go of it."""

    def __init__(self, recorder: Recorder, watch: ImportWatch) -> None:
        self._recorder, self._watch = recorder, watch
        self._patches = Patches()
        self._pid = os.getpid()

    def install(self) -> None:
        """Listen at every way out."""
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._in_child)
        for name in _ABRUPT:
            self._patches.set(os, name, self._finishing(getattr(os, name)))
        self._patches.set(sys, "excepthook", self._excepthook(sys.excepthook))
        self._patches.set(threading, "excepthook", _thread_excepthook(threading.excepthook))

    def _at_exit(self) -> None:
        self._watch.remove()
        self._patches.restore()
        self._recorder.finish("complete")

    def _in_child(self) -> None:
        """The copy has no thread that sends, and must not touch what belongs to the first."""
        self._patches.restore()
        self._watch.remove()
        self._recorder.abandon()

    def _finishing(self, function: Any) -> Any:
        def leave(*arguments: Any) -> Any:
            if os.getpid() == self._pid:
                self._recorder.finish("complete")
            return function(*arguments)

        leave.__name__, leave.__doc__ = function.__name__, function.__doc__
        return leave

    def _excepthook(self, before: Any) -> Any:
        def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self._recorder.failed()
            error.__traceback__ = without_hooks(trace)
            before(kind, error, error.__traceback__)

        return excepthook


def _thread_excepthook(before: Any) -> Any:
    """A thread that fails is the program's affair and ends no run; only its traceback is to look as ever."""

    def excepthook(args: threading.ExceptHookArgs) -> None:
        error, trace = args.exc_value, without_hooks(args.exc_traceback)
        if error is not None:
            error.__traceback__ = trace
        before(threading.ExceptHookArgs((args.exc_type, error, trace, args.thread)))

    return excepthook
