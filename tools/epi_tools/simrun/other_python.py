"""Simulates boards in another interpreter, which stays alive between runs: PyPy takes a third of the time and less.

    with OtherPython("pypy3") as other:
        simulate(order, seed, path, utc, None, progress, other.hear)

The other one needs the standard library alone. Jobs and messages travel as pickles over its standard input and output.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import epi_protocol
import epi_tools
import epid
from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.heard import BoardJob, Progress, hear

if TYPE_CHECKING:
    from epi_tools.simrun.layout import Message

_PROTOCOL = 4
"""Of pickle: Python 3.4 and later, whichever interpreter."""


class OtherPython:
    """A child process of the interpreter `python`, a name or a path. TruthError where it cannot be started or gives up."""

    def __init__(self, python: str) -> None:
        rooms = [str(Path(package.__file__ or "").parents[1]) for package in (epi_tools, epid, epi_protocol)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*rooms, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
        command = [python, "-m", "epi_tools.simrun.other_python"]
        self._python = python
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        except OSError as error:
            raise TruthError(f"Cannot start {python}: {error.strerror}.") from error

    def hear(self, job: BoardJob, progress: Progress) -> Iterator[Message]:
        """As heard.hear, but all at once at the end."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            pickle.dump(job, self._child.stdin, _PROTOCOL)
            self._child.stdin.flush()
            heard: list[Message] = pickle.load(self._child.stdout)
        except (EOFError, OSError) as error:
            raise TruthError(f"{self._python} gave up while it simulated a board; what it said stands above.") from error
        progress(1.0)
        return iter(heard)

    def __enter__(self) -> OtherPython:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the child end; it does when nothing more can come."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """The child's side: answer jobs until there are no more."""
    while True:
        try:
            job: BoardJob = pickle.load(jobs)
        except EOFError:
            return
        pickle.dump(list(hear(job, lambda _share: None)), answers, _PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
