"""Keeps every core busy until a given instant: in compiled threads, or in child processes where nothing was compiled."""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType
from typing import Protocol, Self

from ..clock import node_ns

_CHILD = """
import sys, time
for line in sys.stdin:
    until_ns = int(line)
    while time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) < until_ns:
        sum(range(2000))
"""


class Burner(Protocol):
    """A context manager that burns while it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def burn(self, until_ns: int) -> None:
        """Return when `until_ns` of the node's clock is reached."""


class ThreadBurner:
    """Compiled threads; ImportError where they were not built."""

    def __init__(self, cores: int) -> None:
        from .._burn import burn  # type: ignore[import-not-found]  # compiled at install

        self._burn, self._cores = burn, cores

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def burn(self, until_ns: int) -> None:
        self._burn(self._cores, until_ns)


class ProcessBurner:
    """One Python process per core, waiting for instants on its standard input; the clock is the same in all of them."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-S", "-c", _CHILD]
        self._children = [subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) for _ in range(self._cores)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()
        for child in self._children:
            child.wait()

    def burn(self, until_ns: int) -> None:
        for child in self._children:
            if child.stdin is not None:
                child.stdin.write(b"%d\n" % until_ns)
        time.sleep(max(0.0, (until_ns - node_ns()) / 1e9))


def burner(cores: int) -> Burner:
    """Return the best burner there is."""
    try:
        return ThreadBurner(cores)
    except ImportError:
        return ProcessBurner(cores)
