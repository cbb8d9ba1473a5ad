"""One simulated run into one run file: the daemon's own session with the board, its own writer, at virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from heapq import merge
from pathlib import Path
from random import Random

from epi_protocol import PROTOCOL_VERSION, messages
from epi_tools.simrun.board import BOARD_ID, SimulatedBoard
from epi_tools.simrun.layout import AFTER_NS, Message, Simulated, when
from epi_tools.simrun.node import NODE, node_messages
from epid import __version__
from epid.daemon.board import (
    BoardEvent,
    BoardSession,
    ClockExchange,
    Hello,
    Log,
    Sample,
)
from epid.daemon.pinger import Pinger
from epid.record.topics import board_topic
from epid.record.writer import RunWriter

_SAMPLES_FROM_NS = 3_000_000_000
"""As in the daemon: a run file starts with the samples of the three seconds before its run."""

Progress = Callable[[float], None]


def write_run(path: Path, simulated: Simulated, board: SimulatedBoard, progress: Progress) -> None:
    """Write the run file whole or not at all; RunFileError where the folder cannot be written."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    writer = RunWriter(unfinished, _metadata(simulated), f"epi sim-run with epid {__version__}")
    try:
        for host_ns, topic, body in merge(_board_messages(simulated, board, progress), node_messages(simulated), key=when):
            writer.write(topic, host_ns, {"host_ns": host_ns, **body})
        writer.close({"status": "complete", "spans": str(len(simulated.spans)), "dropped": "0"})
        unfinished.replace(path)
    finally:
        writer.abandon()
        unfinished.unlink(missing_ok=True)


def _metadata(simulated: Simulated) -> dict[str, str]:
    return {
        "run": simulated.run,
        "label": simulated.label,
        "node": NODE,
        "channel": f"{BOARD_ID}:0",
        "utc": simulated.utc,
        "host_ns": str(simulated.begin_ns),
        "host": "simulated",
        "epid": __version__,
        "protocol": str(PROTOCOL_VERSION),
    }


def _board_messages(simulated: Simulated, board: SimulatedBoard, progress: Progress) -> Iterator[Message]:
    """Drive the firmware, ping it as the daemon does, and hand on what the daemon's session makes of its bytes."""
    nonces = Random(f"nonces {simulated.run}")
    session = BoardSession(Pinger(messages.size_of(messages.PING_FIELDS) - 1, nonces.randbytes))
    until_ns, span_ns = simulated.end_ns + AFTER_NS, simulated.end_ns + AFTER_NS - simulated.start_ns
    heard_ns, told_ns = 0, 0
    while board.clock.now_ns < until_ns:
        command = session.command_due(board.clock.now_ns)
        if command is not None:
            board.line.deliver(command)
        board.turn()
        arrived = board.line.take()
        if arrived is not None:
            heard_ns, data = arrived
            for event in session.receive(data, heard_ns):
                if not isinstance(event, Sample) or heard_ns >= simulated.begin_ns - _SAMPLES_FROM_NS:
                    yield from _board_message(session.board_id, event, heard_ns)
        if board.clock.now_ns - told_ns > 1_000_000_000:
            told_ns = board.clock.now_ns
            progress((told_ns - simulated.start_ns) / span_ns)


def _board_message(board_id: str, event: BoardEvent, host_ns: int) -> Iterator[Message]:
    if isinstance(event, Sample):
        yield host_ns, board_topic(board_id, "sample"), {"payload": event.payload}
    elif isinstance(event, ClockExchange):
        body = {name: getattr(event, name) for name in ("boot_id", "nonce", "t1_ns", "t2_us", "t3_us", "t4_ns")}
        yield host_ns, board_topic(board_id, "clock"), body
    elif isinstance(event, Hello) and event.rebooted:
        yield host_ns, board_topic(board_id, "hello"), {"payload": event.payload}
    elif isinstance(event, Log):
        yield host_ns, board_topic(board_id, "log"), {"level": event.level, "text": event.text}
