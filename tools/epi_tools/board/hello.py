"""HELLO, as the wire's own decoder finds it: what runs on a board, and whether it came back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import serial

from epi_protocol.errors import ProtocolError, VersionError
from epi_protocol.frame import FrameDecoder
from epi_protocol.messages import HELLO, SAMPLE, parse_hello, parse_sample
from epi_tools.board.errors import BoardError
from epi_tools.board.ports import find_ports, open_port

_READ_S = 0.05
_RETRY_S = 0.2
_SILENCE_S = 3.0  # a running firmware says HELLO every second: look elsewhere after this


@dataclass(frozen=True, slots=True)
class Hello:
    """What a running firmware said about itself, and on which port. `description` is empty where its protocol is not ours."""

    port: str
    boot_id: bytes
    description: dict[str, Any]

    @property
    def version(self) -> str:
        """The firmware's version, "" where it is unknown."""
        return str(self.description.get("firmware", ""))

    @property
    def board_id(self) -> str:
        """The board's unique id, hex."""
        return str(self.description.get("board_id", ""))


class Listener:
    """Listens to a firmware on an open `line`: its last HELLO, how often this boot said it, and how many sweeps it has made.

    A board on a network sends its samples there; on its serial line only HELLO shows that it lives.
    """

    def __init__(self, port: str, line: serial.Serial) -> None:
        self.hello: Hello | None = None
        self.hellos = 0
        self.sweeps = 0
        self._port, self._line = port, line
        self._decoder = FrameDecoder()

    @property
    def is_meter(self) -> bool:
        """Whether anything that came was a frame of ours."""
        return self._decoder.frames > 0

    def listen(self) -> None:
        """Take what has come, waiting a moment for the first byte. SerialException and OSError when the line is gone."""
        for payload in self._decoder.feed(self._line.read(max(1, self._line.in_waiting))):
            if payload[0] == HELLO:
                self._take_hello(payload)
            elif payload[0] == SAMPLE and self.hello:
                head, _ = parse_sample(payload)
                if head["boot_id"] == self.hello.boot_id:
                    self.sweeps = head["seq"] + 1

    def _take_hello(self, payload: bytes) -> None:
        try:
            boot_id, description = parse_hello(payload)
        except VersionError:
            boot_id, description = payload[2:6], {}
        except ProtocolError:
            return  # a damaged one; the next comes within a second
        if not self.hello or self.hello.boot_id != boot_id:
            self.hellos = self.sweeps = 0
        self.hellos += 1
        self.hello = Hello(self._port, boot_id, description)


def wait_for_hello(
    port: str,
    board_id: str,
    timeout_s: float,
    enough: Callable[[Listener], bool] = lambda listener: listener.hello is not None,
    clock: Callable[[], float] = time.monotonic,
) -> Hello | None:
    """HELLO of the board `board_id`, which may come back on `port` or under another name; None when it does not come.

    Without an id, any board on USB will do. `enough` says when what was heard suffices: more than a HELLO, or a certain one.
    """
    deadline = clock() + timeout_s
    while clock() < deadline:
        for path in ports_of(port, board_id):
            heard = _listen_on(path, board_id, deadline, enough, clock)
            if heard:
                return heard
        time.sleep(_RETRY_S)
    return None


def ports_of(port: str, board_id: str) -> list[str]:
    """Where the board may be by now: the port that USB gives its id, else the old name."""
    known = [found.path for found in find_ports() if board_id in ("", found.board_id)]
    return known or [port] * bool(port)


def _listen_on(
    path: str, board_id: str, deadline: float, enough: Callable[[Listener], bool], clock: Callable[[], float]
) -> Hello | None:
    """Listen on `path` until there is enough, it turns out to be another board, the line breaks, or time is up."""
    try:
        line = open_port(path, _READ_S)
    except BoardError:
        return None  # not there yet, or not ours: the caller tries again until its time is up
    with line:
        listener = Listener(path, line)
        silent_until = clock() + _SILENCE_S
        while clock() < (deadline if listener.hello else min(deadline, silent_until)):
            try:
                listener.listen()
            except (OSError, serial.SerialException):
                return None  # it is resetting
            hello = listener.hello
            if hello and board_id and hello.board_id not in ("", board_id):
                return None
            if hello and enough(listener):
                return hello
    return None
