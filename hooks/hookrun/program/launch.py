"""hookrun becomes the program."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import HookrunError
from . import watcher
from .ledger import Ledger
from .spec import VARIABLE, ProgramSpec

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""What this interpreter ignores would stay ignored in the program, which expects to be ended by it."""
INJECT = Path(__file__).with_name("inject")


class CannotStart(HookrunError):
    """The command cannot be run; `code` is what env(1) and the shells return then."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def find(command: Sequence[str]) -> str:
    """Return the path of the program to run."""
    path = shutil.which(command[0])
    if path is not None:
        return path
    if Path(command[0]).exists():
        raise CannotStart(f"{command[0]} is not executable; is it a script? Then: hookrun -- python {command[0]}", 126)
    raise CannotStart(f"there is no program {command[0]!r}; give the command as you would without hookrun", 127)


def environment(spec: ProgramSpec, before: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a Python reads our sitecustomize first and finds its orders."""
    folders = [str(INJECT), *([before["PYTHONPATH"]] if before.get("PYTHONPATH") else [])]
    return {**before, "PYTHONPATH": os.pathsep.join(folders), VARIABLE: spec.to_json()}


def become(path: str, spec: ProgramSpec) -> NoReturn:
    """Replace this process by the program, watched."""
    watcher.start(Ledger.of(spec), telemetry=spec.telemetry)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.execve(path, list(spec.command), environment(spec, os.environ))
