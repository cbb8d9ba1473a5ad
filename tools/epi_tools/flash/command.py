"""`epi flash`: options, complaints in one sentence, and what was done in a line or in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

from epi_tools.board import BoardError, choose_port
from epi_tools.flash import flasher
from epi_tools.flash.build import find_sources
from epi_tools.flash.progress import Terminal

EXAMPLE = """\b
Examples, a board that runs MicroPython, and a bare one with BOOTSEL held while it was plugged in:
  epi flash
  epi flash --port /dev/ttyACM0 --json
  epi flash --uf2 RPI_PICO2-v1.28.0.uf2
"""


class Complaint(click.ClickException):
    """What went wrong, in one sentence; exit code 2."""

    exit_code = 2


@click.command(epilog=EXAMPLE)
@click.option("--port", metavar="PATH", help="Serial port of the board; default: the only board that is plugged in.")
@click.option(
    "--firmware", type=click.Path(path_type=Path, file_okay=False), help="Folder of the firmware; default: this repository's."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1), default=20.0, show_default=True, metavar="S", help="Patience for HELLO."
)
@click.option("--again", is_flag=True, help="Write even the version that the board runs already.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON line.")
def flash(port: str | None, firmware: Path | None, timeout_s: float, again: bool, as_json: bool) -> None:
    """Put the firmware on a meter board.

    It goes into the slot that does not run, is checked there, and takes over by one rename. When it does not say HELLO, the
    board goes back to what it had, by this command or by itself.
    """
    try:
        plan = flasher.Plan(find_sources(firmware), timeout_s, again)
        done = flasher.flash(choose_port(port), plan, Terminal())
    except BoardError as error:
        raise Complaint(str(error)) from error
    click.echo(json.dumps(as_dict(done)) if as_json else sentence(done))


def as_dict(done: flasher.Flashed) -> dict[str, object]:
    """What was done, for machines; times in seconds."""
    return {
        "board_id": done.identity.board_id,
        "machine": done.identity.machine,
        "micropython": done.identity.version_text,
        "simulated": done.identity.simulated,
        "firmware": done.version,
        "previous": done.previous or None,
        "slot": done.slot or None,
        "port": done.port,
        "written_bytes": done.written_bytes,
        "write_s": round(done.write_s, 3),
        "total_s": round(done.total_s, 3),
    }


def sentence(done: flasher.Flashed) -> str:
    """What was done, for people."""
    who = f"{'Simulated board' if done.identity.simulated else 'Board'} {done.identity.board_id} on {done.port}"
    if not done.slot:
        return f"{who} runs {done.version} already; nothing was written (--again writes it anyway)."
    size = f"{done.written_bytes / 1024:.1f} KiB"
    return (
        f"{who} runs {done.version}: {size} written to {done.slot} in {done.write_s:.1f} s, running after {done.total_s:.1f} s."
    )
