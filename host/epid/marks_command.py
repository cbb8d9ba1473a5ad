"""`epid marks`: what an outside instrument says on a serial line, stamped with the daemon's clock."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .clocks import host_now_ns
from .errors import LinkError

if TYPE_CHECKING:
    import serial

    from .marks import Mark

_TICK_S = 0.2


@click.command()
@click.argument("port")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="marks.csv", show_default=True, help="Mark file.")
@click.option("--seconds", type=float, help="Stop after so long; without it Ctrl-C stops.")
def marks(port: str, out: Path, seconds: float | None) -> None:
    """Stamp the steps of the load that an outside instrument sees, for `epid lag --marks`.

    PORT is a serial port on the daemon's computer; the instrument sends the letter 1 when the load rises and 0 when it falls
    (115200 baud). Start it before the run, and stop it after.

    \b
    Example:
      epid marks /dev/ttyUSB0 --out marks.csv
      epid lag runs/baseline.mcap --marks marks.csv
    """
    from .daemon.link import open_serial
    from .marks import write_marks

    line = open_serial(port)
    line.timeout = _TICK_S
    try:
        count = write_marks(out, _until(line, port, seconds), _show)
    finally:
        line.close()
    click.echo(f"{count} marks in {out}")


def _until(line: serial.Serial, port: str, seconds: float | None) -> Iterator[Mark]:
    """Marks from the line until the time is up or somebody presses Ctrl-C."""
    from .marks import marks_of

    until_s = math.inf if seconds is None else time.monotonic() + seconds

    def read() -> bytes:
        data = b""
        while not data and time.monotonic() < until_s:
            data = bytes(line.read(max(1, line.in_waiting)))
        return data

    try:
        yield from marks_of(read, host_now_ns)
    except KeyboardInterrupt:
        return
    except OSError as error:  # pyserial's own errors are OSErrors
        raise LinkError(f"the instrument on {port} is gone: {error}") from error


def _show(count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{count} marks ", nl=False, err=True)
