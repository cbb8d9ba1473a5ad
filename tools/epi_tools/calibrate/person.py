"""The person at the bench: what to do next, what the reference shows, and how far the measuring is."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Protocol

import click

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.plan import GAIN, OFFSETS, PHASE
from epi_tools.calibrate.reference import Given, Reference, read_reference

_WHAT_TO_DO = {
    OFFSETS: "Open the current circuit of channel {channel}: unplug its load, leave mains at its voltage input.",
    GAIN: "Switch on a steady load at PF 1 on channel {channel} (a lamp or heater, warm), with the reference meter before it.",
    PHASE: "Switch on a steady load at PF 0.5, current lagging, on channel {channel} (a choke or motor), behind the same meter.",
}


class Person(Protocol):
    """Who changes loads and reads the reference."""

    def prepare(self, step: str, again: bool) -> Reference | None:
        """Have the load of `step` in place and return what the reference says of it; None for an open circuit."""

    def can(self, step: str) -> bool:
        """Whether there is what a step needs."""

    def agrees(self, question: str) -> bool:
        """Whether to go on."""

    def say(self, text: str) -> None:
        """A remark."""

    def progress(self, label: str, done_s: float, total_s: float) -> None:
        """How far a measurement is."""


class Script:
    """Nobody is asked: everything was given as options, and the load stands as it is."""

    def __init__(self, reference: Reference | None) -> None:
        self._reference = reference

    def prepare(self, step: str, again: bool) -> Reference | None:
        """The reference of the options."""
        return None if step == OFFSETS else self._reference

    def can(self, step: str) -> bool:
        """What was asked for is there."""
        return True

    def agrees(self, question: str) -> bool:
        """Always."""
        return True

    def say(self, text: str) -> None:
        """On standard error."""
        click.echo(text, err=True)

    def progress(self, label: str, done_s: float, total_s: float) -> None:
        """A bar, on a terminal only."""
        if sys.stderr.isatty():
            filled = min(30, int(30 * done_s / total_s))
            end = "\n" if done_s >= total_s else ""
            click.echo(
                f"\r{label:<22} [{'#' * filled}{'-' * (30 - filled)}] {done_s:4.0f}/{total_s:.0f} s{end}", err=True, nl=False
            )


class Prompter(Script):
    """Walks a person through; options are offered as answers. Wrong answers are asked for again."""

    def __init__(self, given: Given, channel: int) -> None:
        super().__init__(None)
        self._channel, self._before = channel, dict.fromkeys((GAIN, PHASE), given)

    def prepare(self, step: str, again: bool) -> Reference | None:
        """Say what to do, wait, and ask for the reference's reading."""
        todo = _WHAT_TO_DO[step].format(channel=self._channel)
        self.say(f"\n{'Once more, to verify: ' if again else ''}{todo}")
        self._ask("Press Enter when it is so", "")
        if step == OFFSETS:
            return None
        while True:
            try:
                return read_reference(self._read(step))
            except CalibrationError as error:
                self.say(str(error))

    def turns(self) -> int | None:
        """Turns of the lead through the transformer; None where nobody knows."""
        while True:
            said = self._ask("Turns of the lead through the current transformer (Enter if unknown)", "")
            if not said or (said.isdecimal() and 0 < int(said) < 100):
                return int(said) if said else None
            self.say(f"{said!r} is no number of turns.")

    def start_w(self) -> str | None:
        """Power from which energy is to be counted; None leaves it as it is."""
        return self._ask("Power from which energy is counted, W (Enter leaves it)", "") or None

    def can(self, step: str) -> bool:
        """A lagging load is the one that not every bench has."""
        return step != PHASE or self.agrees("Is a steady load at PF 0.5 at hand, for the phase?")

    def agrees(self, question: str) -> bool:
        """Yes or no, no by default."""
        return self._ask(f"{question} [y/N]", "").lower() in ("y", "yes")

    def _read(self, step: str) -> Given:
        old = self._before[step]
        given = replace(
            old,
            w=self._ask("Reference power, W", old.w),
            v=self._ask("Reference voltage, V", old.v),
            pf=self._ask("Its power factor", old.pf or ("1" if step == GAIN else "0.5")),
        )
        self._before[step] = given
        return given

    @staticmethod
    def _ask(text: str, default: str) -> str:
        """One line from standard input; its end is a wish to stop."""
        click.echo(f"{text}{f' ({default})' if default else ''}: ", err=True, nl=False)
        line = sys.stdin.readline()
        if not line:
            raise CalibrationError("No answer came, so the calibration ends here; nothing was stored.")
        return line.strip() or default
