"""`epi flash`: options, complaints in one sentence, and what was done in a line or in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

from epi_tools.board import BoardError, choose_port
from epi_tools.flash.build import find_sources
from epi_tools.flash.first_flash import FirstFlash, Made, first_flash
from epi_tools.flash.flasher import Flashed, Plan, flash_board
from epi_tools.flash.progress import Terminal

EXAMPLE = """\b
Examples, a board that runs MicroPython, and a bare one with BOOTSEL held while it was plugged in:
  epi flash
  epi flash --port /dev/ttyACM0 --json
  epi flash --uf2 RPI_PICO2-v1.28.0.uf2
"""
FOLDER = click.Path(path_type=Path, file_okay=False)
PATIENCE = click.FloatRange(1, 3600)
IMAGE = click.Path(path_type=Path, dir_okay=False)


class Complaint(click.ClickException):
    """What went wrong, in one sentence; exit code 2."""

    exit_code = 2


@click.command(epilog=EXAMPLE)
@click.option("--port", metavar="PATH", help="Serial port of the board, or tcp://HOST:PORT; default: the only one plugged in.")
@click.option("--uf2", type=IMAGE, help="First flash of a bare board: MicroPython for it, as a UF2 file from micropython.org.")
@click.option("--drive", type=FOLDER, help="With --uf2: the mounted BOOTSEL drive; default: the only one there is.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="With --uf2: make the image, and write it here only."
)
@click.option("--firmware", type=FOLDER, help="Folder of the firmware; default: this repository's.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1), default=20.0, show_default=True, help="Seconds to wait for HELLO."
)
@click.option("--again", is_flag=True, help="Write even the version that the board runs already.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON line.")
def flash(
    port: str | None,
    uf2: Path | None,
    drive: Path | None,
    out: Path | None,
    firmware: Path | None,
    timeout_s: float,
    again: bool,
    as_json: bool,
) -> None:
    """Put the firmware on a meter board.

    It goes into the slot that does not run, is checked there, and takes over by one rename. When it does not say HELLO, the
    board goes back to what it had, by this command or by itself.
    """
    try:
        sources, reporter = find_sources(firmware), Terminal()
        done: Made | Flashed
        if uf2:
            done = first_flash(FirstFlash(uf2, drive, out, sources, timeout_s), reporter)
        elif drive or out:
            raise BoardError("--drive and --out are for the first flash: name MicroPython's UF2 file with --uf2.")
        else:
            done = flash_board(choose_port(port), Plan(sources, timeout_s, again), reporter)
    except BoardError as error:
        raise Complaint(str(error)) from error
    click.echo(json.dumps(done.as_dict()) if as_json else done.sentence())
