"""What a person sees while the board is written: stages, and a bar where standard error is a terminal."""

from __future__ import annotations

import sys
from typing import Any

import click


class Reporter:
    """Told about each stage of a flash. This one says nothing."""

    def stage(self, text: str) -> None:
        """A stage begins."""

    def begin(self, total_bytes: int) -> None:
        """So many bytes are going to be written."""

    def wrote(self, count: int) -> None:
        """So many more are."""

    def end(self) -> None:
        """No more come."""


class Terminal(Reporter):
    """Stages as lines and bytes as a bar, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None

    def stage(self, text: str) -> None:
        click.echo(text, err=True)

    def begin(self, total_bytes: int) -> None:
        if sys.stderr.isatty():
            self._bar = click.progressbar(length=total_bytes, file=sys.stderr, width=40)
            self._bar.__enter__()

    def wrote(self, count: int) -> None:
        if self._bar:
            self._bar.update(count)

    def end(self) -> None:
        if self._bar:
            self._bar.__exit__(None, None, None)
            self._bar = None
