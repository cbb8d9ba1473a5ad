"""What the user's own command line asks distributed-llama for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import HookrunError

ROOT_MODES = ("inference",)
WORKER = "worker"
_PUNCTUATION = ".!?:;,\n\"')]}…。"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that is going to be run as it is. `model`, `prompt` and `steps` are None where it names none."""

    command: tuple[str, ...]
    mode: str
    model: Path | None
    prompt: str | None
    steps: int | None
    threads: int | None
    workers: tuple[str, ...]

    @property
    def nodes(self) -> int:
        """Return the number of nodes, the root included."""
        return 1 + len(self.workers)

    @property
    def is_worker(self) -> bool:
        """Return whether this is one of the other nodes."""
        return self.mode == WORKER

    def warnings(self) -> list[str]:
        """Return what distributed-llama 0.16 gets wrong with this command."""
        if self.prompt and self.prompt[-1] not in _PUNCTUATION:
            return [
                "distributed-llama often replaces a prompt's last token by a stale one (token = inputTokens[pos + 1]); "
                "end the prompt with a full stop where the answer matters"
            ]
        return []


def read_invocation(command: Sequence[str]) -> Invocation:
    """Return what a command asks for; HookrunError where it is none that can be measured."""
    if not command:
        raise HookrunError("no command: hookrun dllama -- dllama inference --model … , or -- dllama worker --port …")
    program = shutil.which(command[0])
    if program is None:
        raise HookrunError(
            f"cannot find the program {command[0]!r}; give its path, as in: hookrun dllama -- ./dllama inference …"
        )
    mode = command[1] if len(command) > 1 else ""
    if mode not in (*ROOT_MODES, WORKER):
        raise HookrunError(f"dllama's mode is {mode!r}; {', '.join((*ROOT_MODES, WORKER))} can be measured")
    values = _options(command[2:])
    model = values.get("--model", [])
    if mode in ROOT_MODES and not model:
        raise HookrunError(f"dllama {mode} without --model; it would crash")
    return Invocation(
        command=(program, *command[1:]),
        mode=mode,
        model=Path(model[0]) if model else None,
        prompt=next(iter(values.get("--prompt", [])), None),
        steps=_number(values, "--steps"),
        threads=_number(values, "--nthreads"),
        workers=tuple(values.get("--workers", [])),
    )


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the words behind each --option; an option behind another one ends it."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    previous = ""
    for word in words:
        if word.startswith("--") and previous != "--prompt":
            current = found.setdefault(word, [])
        elif current is not None:
            current.append(word)
        previous = word
    return found


def _number(values: dict[str, list[str]], name: str) -> int | None:
    word = next(iter(values.get(name, [])), "")
    return int(word) if word.isdecimal() else None
