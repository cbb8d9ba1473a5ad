"""From what a board said to what stands in the run files; the same way live and in a replay."""

from __future__ import annotations

from collections.abc import Callable

from ..record.topics import board_topic
from .board import BoardEvent, BoardSession, ClockExchange, Hello, Log, Sample
from .recorder import Recorder

_STAMPS = ("boot_id", "nonce", "t1_ns", "t2_us", "t3_us", "t4_ns")


class Intake:
    """Writes boards' events down. `note` takes what a person reads in the run file, at which level and when."""

    def __init__(self, recorder: Recorder, note: Callable[[int, str, int], None]) -> None:
        self._recorder, self._note = recorder, note

    def take(self, session: BoardSession, event: BoardEvent, host_ns: int) -> None:
        """Record one event of a board, at `host_ns`."""
        board = session.board_id
        if isinstance(event, Sample):
            self._recorder.board(board_topic(board, "sample"), host_ns, {"payload": event.payload})
            if event.lost:
                self._note(1, f"board {board}: {event.lost} frames lost", host_ns)
        elif isinstance(event, ClockExchange):
            body = {name: getattr(event, name) for name in _STAMPS}
            self._recorder.board(board_topic(board, "clock"), host_ns, body)
        elif isinstance(event, Hello) and event.rebooted:
            self._recorder.board(board_topic(board, "hello"), host_ns, {"payload": event.payload}, hello=True)
        elif isinstance(event, Log) and board:
            self._recorder.board(board_topic(board, "log"), host_ns, {"level": event.level, "text": event.text})
