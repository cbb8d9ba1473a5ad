"""A process beside the program that wakes when the program is gone, and says and closes what it could not.

The program must keep the process, the terminal, the signals and the exit code that it would have without us, so hookrun
becomes the program instead of starting it. The watcher is nobody's child: the program never meets it in a `wait`.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..clock import node_ns
from ..node.telemetry import PERIOD_S
from .ledger import Ledger
from .relay import FirmwareAsker
from .rescue import complete

_MOST_DESCRIPTORS = 1 << 12
_NEVER_ARMED = "nothing was recorded: the command started no Python that reads hookrun's hooks (python -I, -S and -E do not)"


def start(ledger: Ledger, *, telemetry: bool = True) -> None:
    """Start a watcher over the calling process, which may then become another program."""
    program = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(program)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    _work(program, ledger, telemetry=telemetry)


def watch(ledger: Ledger, wait: Callable[[int], None], say: Callable[[str], None]) -> None:
    """Close what the program's processes have left open, each after its own end, and take the ledger away."""
    for pid, run in ledger.unfinished().items():
        wait(pid)
        if pid in ledger.unfinished():  # it may have ended its run meanwhile
            say(_close(run["out"], run["daemon"]))
    if not ledger.armed:
        say(f"warning: {_NEVER_ARMED}")
    ledger.remove()


def _close(out: str | None, daemon: str | None) -> str:
    """Close one run and return the sentence about it."""
    ended = "the program was ended before it could close its run"
    lost = "spans of its last moments may be lost"
    if out is not None:
        spans = complete(Path(out), node_ns())
        if spans is not None:
            return f"warning: {ended}; {spans} spans are in {out} (aborted), {lost}"
    if daemon is not None:
        return f"warning: {ended}; the daemon has what was sent until then, {lost}"
    return f"warning: {ended}"


def _work(program: int, ledger: Ledger, *, telemetry: bool) -> NoReturn:
    _keep_only_stderr(program)
    try:
        if telemetry:
            _relay(program, ledger, FirmwareAsker(ledger.firmware))
        select.select([program], [], [])
        watch(ledger, _wait, lambda sentence: print(f"hookrun: {sentence}", file=sys.stderr, flush=True))
    except OSError as error:  # a full disk, or a stderr that nobody reads: there is nobody left to tell
        os._exit(error.errno or 1)
    os._exit(0)


def _relay(program: int, ledger: Ledger, firmware: FirmwareAsker) -> None:
    """Return when the program is gone; meanwhile ask the board's firmware for its telemetry, where there is one."""
    firmware.ask()
    while not select.select([program], [], [], None if firmware.silent else PERIOD_S)[0]:
        if ledger.recording:
            firmware.ask()


def _keep_only_stderr(program: int) -> None:
    """A reader of the program's output must see its end when the program ends."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.closerange(3, program)
    os.closerange(program + 1, _MOST_DESCRIPTORS)
    os.chdir("/")


def _wait(pid: int) -> None:
    """Return once a process is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([process], [], [])
    os.close(process)
