"""A command that serves until it is stopped, its output in a log file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .plan import Demo
from .shell import DemoError, tool


@contextmanager
def service(plan: Demo, name: str, *command: object) -> Iterator[Waiter]:
    """Run a command that serves until it is stopped, its output in a log file."""
    log = plan.path(f"{name}.log")
    with log.open("w") as stream:
        words = [tool(str(command[0])), *(str(part) for part in command[1:])]
        process = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield Waiter(process, log)
        finally:
            process.terminate()
            process.wait(20)


@dataclass(frozen=True, slots=True)
class Waiter:
    """Waits for a line in the log of a command that serves."""

    process: subprocess.Popen[bytes]
    log: Path

    def __call__(self, wanted: Callable[[str], bool], seconds: float = 30) -> str:
        """Return the first line that is wanted; DemoError where the command ends or says nothing of it in time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self.process.poll() is None:
            for line in self.log.read_text(errors="replace").splitlines():
                if wanted(line):
                    return line
            time.sleep(0.1)
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        raise DemoError(f"{self.log.stem} did not start: {last[0] if last else 'it said nothing'} (see {self.log})")
