"""The whole walk: leave the program, write the idle slot, flip, reset, wait for HELLO, and back where it does not come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from epi_tools.board import Board, BoardError, Identity, Listener, connect, ports_of, wait_for_hello
from epi_tools.flash import slots
from epi_tools.flash.build import Build, Sources, compile_for
from epi_tools.flash.progress import Reporter

MIN_VERSION = (1, 22)
PROVEN_SWEEPS, PROVEN_HELLOS = 10, 4
"""What a new firmware has to send before it counts as running; where samples go to a network, seconds of HELLO have to do."""

OWN_WAY_BACK_S = 75.0
"""A firmware that hangs is reset by main.py after 20 s; three times, and the board starts the other slot."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to flash, and how patient to be. `again` writes even what the board runs already."""

    sources: Sources
    timeout_s: float = 20.0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Flashed:
    """What a flash has done. `previous` is "" where no firmware ran; `slot` is "" where nothing had to be written."""

    identity: Identity
    version: str
    previous: str
    slot: str
    port: str
    written_bytes: int
    write_s: float
    total_s: float

    def as_dict(self) -> dict[str, object]:
        """For machines; times in seconds."""
        return {
            "board_id": self.identity.board_id,
            "machine": self.identity.machine,
            "micropython": self.identity.version_text,
            "simulated": self.identity.simulated,
            "firmware": self.version,
            "previous": self.previous or None,
            "slot": self.slot or None,
            "port": self.port,
            "written_bytes": self.written_bytes,
            "write_s": round(self.write_s, 3),
            "total_s": round(self.total_s, 3),
        }

    def sentence(self) -> str:
        """For people."""
        kind = "Simulated board" if self.identity.simulated else "Board"
        who = f"{kind} {self.identity.board_id} on {self.port} runs {self.version}"
        if not self.slot:
            return f"{who} already; nothing was written (--again writes it anyway)."
        size = f"{self.written_bytes / 1024:.1f} KiB"
        return f"{who}: {size} written to {self.slot} in {self.write_s:.1f} s, running after {self.total_s:.1f} s."


class RolledBack(BoardError):
    """The new firmware did not do; the text says what runs now."""


def flash_board(port: str, plan: Plan, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> Flashed:
    """Bring the firmware in `plan` onto the board on `port`; BoardError says what stopped it, RolledBack that it was undone."""
    start_s = clock()
    reporter.stage(f"looking at {port}")
    with connect(port) as board:
        previous = board.hello.version if board.hello else ""
        try:
            check_board(board.identity)
            if previous == plan.sources.version and not plan.again:
                board.reset()
                return Flashed(board.identity, previous, previous, "", port, 0, 0.0, clock() - start_s)
            build = compile_for(plan.sources, board.identity.mpy)
            before = slots.read_state(board)
            write_s = _write(board, before, build, reporter, clock)
        except BaseException:
            _resume(board)
            raise
        board.reset()
    now_on = _wait(board, before, build.version, previous, plan, reporter)
    return Flashed(board.identity, build.version, previous, before.idle, now_on, build.size, write_s, clock() - start_s)


def check_board(identity: Identity) -> None:
    """BoardError where this is no board for the meter's firmware."""
    if identity.implementation != "micropython":
        raise BoardError(f"The board runs {identity.implementation} and the meter MicroPython: epi flash --uf2 puts it on.")
    if identity.platform != "rp2" and not identity.simulated:
        raise BoardError(f"This is a board with {identity.machine}; the meter's firmware runs on RP2350 and RP2040 only.")
    if identity.version[:2] < MIN_VERSION:
        raise BoardError(
            f"The board has MicroPython {identity.version_text} and the firmware needs {'.'.join(map(str, MIN_VERSION))} "
            "or newer: epi flash --uf2 puts it on."
        )


def _write(board: Board, before: slots.SlotState, build: Build, reporter: Reporter, clock: Callable[[], float]) -> float:
    """Everything up to the flip; returns the seconds it took."""
    reporter.stage(f"writing {build.version} to {before.idle} of {board.identity.machine}")
    start_s = clock()
    reporter.begin(build.size)
    try:
        slots.install(board, before.idle, build, reporter.wrote)
    finally:
        reporter.end()
    slots.install_main(board, build.main)
    slots.put_on_trial(board, before.idle, build)
    return clock() - start_s


def _resume(board: Board) -> None:
    """Let the board measure again, if it did before: what stopped us is said by whoever calls."""
    if board.hello:
        with contextlib.suppress(BoardError):
            board.reset()


def _wait(board: Board, before: slots.SlotState, version: str, previous: str, plan: Plan, reporter: Reporter) -> str:
    """Wait until the new firmware has proved itself and return its port; RolledBack when it does not."""

    reporter.stage(f"waiting for HELLO of {version}")
    left = board.hello.boot_id if board.hello else b""
    heard = wait_for_hello(
        board.port, board.identity.board_id, plan.timeout_s, lambda listener: _is_settled(listener, version, left)
    )
    if heard and heard.version == version:
        return heard.port
    if heard:
        raise RolledBack(f"The new firmware {version} failed on the board, which has gone back to {heard.version} by itself.")
    reporter.stage("it does not come: going back")
    trouble = f"The new firmware {version} did not say HELLO within {plan.timeout_s:g} s"
    raise RolledBack(f"{trouble}; {_go_back(board, before, previous)}.")


def _is_settled(listener: Listener, version: str, left: bytes) -> bool:
    """Whether the new firmware has done enough, or another one is back; `left` is the boot that was left for the prompt."""
    hello = listener.hello
    if not hello or hello.boot_id == left:
        return False
    return hello.version != version or listener.sweeps >= PROVEN_SWEEPS or listener.hellos >= PROVEN_HELLOS


def _go_back(board: Board, before: slots.SlotState, previous: str) -> str:
    """Undo the flip at the prompt; where the board gives none, wait until main.py does it. Returns what runs now, in words."""
    at_prompt = _undo_at_prompt(board, before)
    if at_prompt and not previous:
        return "the board is at its prompt, as before"
    heard = wait_for_hello(board.port, board.identity.board_id, OWN_WAY_BACK_S)
    if heard:
        return f"the board runs {heard.version} again"
    return "and the board does not answer any more: unplug it, plug it in again and repeat this command"


def _undo_at_prompt(board: Board, before: slots.SlotState) -> bool:
    """True where the board gave its prompt and points to its old firmware again."""
    for port in ports_of(board.port, board.identity.board_id):
        try:
            with connect(port) as same:
                if same.identity.board_id == board.identity.board_id:
                    slots.go_back(same, before.idle, before)
                    same.reset()
                    return True
        except BoardError:
            continue  # no prompt there: main.py's own way back is left
    return False
