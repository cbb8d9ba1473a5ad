"""What goes wrong in words that a person can act on."""

from __future__ import annotations

import signal


class HookrunError(Exception):
    """One sentence that says what is wrong, where, and what to do; the command line prints it and nothing else."""


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
