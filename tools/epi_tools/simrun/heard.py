"""What the daemon would have heard of a simulated board: the firmware at virtual time, and the daemon's own session with it.

All of it is plain Python without numpy, so that any interpreter runs it, to the same messages: see other_python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from epi_protocol import messages
from epi_tools.simrun.board import SimulatedBoard
from epi_tools.simrun.delays import uniform_delays
from epi_tools.simrun.pieces import Pieces
from epi_tools.simrun.truth import Truth
from epid.daemon.board import BoardEvent, BoardSession, ClockExchange, Hello, Log, Sample
from epid.daemon.pinger import Pinger
from epid.record.topics import board_topic

if TYPE_CHECKING:
    from epi_tools.simrun.layout import Message

Progress = Callable[[float], None]

_SAMPLES_FROM_NS = 3_000_000_000
"""As in the daemon: a run file starts with the samples of the three seconds before its run."""


@dataclass(frozen=True, slots=True)
class BoardJob:
    """One board during one run: switched on at `start_ns` of true time, recorded from `begin_ns` until `until_ns`.

    `seed` is the chip's, `boot` numbers the board's start, and the run's name `run` decides the delays on its line.
    """

    truth: Truth
    source: Pieces
    seed: int
    boot: int
    run: str
    start_ns: int
    begin_ns: int
    until_ns: int


Hear = Callable[[BoardJob, Progress], "Iterator[Message]"]


def hear(job: BoardJob, progress: Progress) -> Iterator[Message]:
    """Drive the firmware, ping it as the daemon does, and yield what the daemon's session makes of its bytes."""
    delays = uniform_delays(Random(f"usb {job.run}"), job.truth.clocks.usb_ms)
    board = SimulatedBoard(job.truth, job.source, job.seed, job.boot, job.start_ns, delays)
    session = BoardSession(Pinger(messages.size_of(messages.PING_FIELDS) - 1, Random(f"nonces {job.run}").randbytes))
    told_ns = 0
    while board.clock.now_ns < job.until_ns:
        yield from _turn(job, board, session)
        if board.clock.now_ns - told_ns > 1_000_000_000:
            told_ns = board.clock.now_ns
            progress((told_ns - job.start_ns) / (job.until_ns - job.start_ns))


def _turn(job: BoardJob, board: SimulatedBoard, session: BoardSession) -> Iterator[Message]:
    """One pass of the firmware's loop, and what has arrived of it at the daemon."""
    command = session.command_due(board.clock.now_ns)
    if command is not None:
        board.line.deliver(command)
    board.turn()
    arrived = board.line.take()
    if arrived is None:
        return
    heard_ns, data = arrived
    for event in session.receive(data, heard_ns):
        if not isinstance(event, Sample) or heard_ns >= job.begin_ns - _SAMPLES_FROM_NS:
            yield from _message(session.board_id, event, heard_ns)


def _message(board_id: str, event: BoardEvent, host_ns: int) -> Iterator[Message]:
    if isinstance(event, Sample):
        yield host_ns, board_topic(board_id, "sample"), {"payload": event.payload}
    elif isinstance(event, ClockExchange):
        body = {name: getattr(event, name) for name in ("boot_id", "nonce", "t1_ns", "t2_us", "t3_us", "t4_ns")}
        yield host_ns, board_topic(board_id, "clock"), body
    elif isinstance(event, Hello) and event.rebooted:
        yield host_ns, board_topic(board_id, "hello"), {"payload": event.payload}
    elif isinstance(event, Log):
        yield host_ns, board_topic(board_id, "log"), {"level": event.level, "text": event.text}
