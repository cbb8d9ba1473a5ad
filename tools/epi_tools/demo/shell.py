"""The commands of this environment, run as a person would, and what the demo says between them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click


class DemoError(click.ClickException):
    """A step failed; the sentence names it and where its output is."""


def step(number: int, text: str) -> None:
    click.secho(f"\n{number}/6 {text}", bold=True)


def run(*command: object) -> None:
    words = [tool(str(command[0])), *(str(part) for part in command[1:])]
    if subprocess.run(words).returncode:
        raise DemoError(f"`{command[0]} {command[1]}` failed; what it said stands above")


def output(*command: object) -> str:
    words = [tool(str(command[0])), *(str(part) for part in command[1:])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise DemoError(f"`{command[0]} {command[1]}` failed; what it said stands above")
    return done.stdout


def tool(name: str) -> str:
    """A command of this environment, whether or not it is on the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
