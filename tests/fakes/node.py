"""A node without inference: says what hookrun says, answers pings, makes spans of stated length."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any, TypeVar

import zmq

from epi_protocol import events

RUN = "ab12cd34ef56ab12"
PATIENCE_S = 60.0
T = TypeVar("T")


def now_ns() -> int:
    """The node's clock."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def spans(rows: list[dict[str, int]], seq: int = 0, run: str = RUN, dropped: int = 0) -> dict[str, Any]:
    """Body of a `spans` message; a row names the columns that are not at their rest value."""
    rest = {"phase": 0, "layer": -1, "request": -1, "token": -1, "count": 0, "batch": 0}
    filled = [rest | row for row in rows]
    columns = {name: array(code, [row[name] for row in filled]).tobytes() for name, code, _meaning in events.COLUMNS}
    return {"run": run, "seq": seq, "count": len(rows), "dropped": dropped, "columns": columns}


class Node:
    """A DEALER that talks to a daemon and answers pings while it waits. `ahead_ns`: its clock is so far off."""

    def __init__(self, endpoint: str, name: str = "pi0", protocol: int | None = None, key: dict[str, str] | None = None) -> None:
        # The context of the whole process: one of its own would wait for this socket where a test fails and forgets to close it.
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if key is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = key["public"].encode(), key["secret"].encode()
            self._socket.curve_serverkey = key["daemon"].encode()
        self.ahead_ns = self.pings = 0
        self._socket.connect(endpoint)
        frames = events.hello(name, "5e55", "host", 1, "fake")
        if protocol is not None:
            kind, body = events.unpack(frames)
            frames = events.pack(kind, body | {"protocol": protocol})
        self._socket.send_multipart(frames)

    def send(self, kind: str, **body: Any) -> None:
        """Send one message."""
        self._socket.send_multipart(events.pack(kind, body))

    def send_raw(self, frames: list[bytes]) -> None:
        """Send anything."""
        self._socket.send_multipart(frames)

    def wait_for(self, kind: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Return the body of the next message of a kind; AssertionError where another answer or none comes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            got, body = self._hear()
            if got == kind:
                return body
            if got == "refused":
                raise AssertionError(f"refused: {body['reason']}")
        raise AssertionError(f"no {kind} in {seconds} s")

    def answer_pings(self, seconds: float) -> None:
        """Stay on the line for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._hear()

    def answer_until(self, condition: Callable[[], T]) -> T:
        """Stay on the line until something has come about, and return what the condition returned."""
        until = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < until, f"it has not come about in {PATIENCE_S} s"
            self._hear()
        return found

    def _hear(self) -> tuple[str, dict[str, Any]]:
        """Return the next message, if one comes at once; a ping is answered."""
        if not self._socket.poll(20):
            return "", {}
        received_ns = now_ns() + self.ahead_ns
        got, body = events.unpack(self._socket.recv_multipart())
        if got == "ping":
            self.pings += 1
            self.send("pong", nonce=body["nonce"], recv_ns=received_ns, send_ns=now_ns() + self.ahead_ns)
        return got, body

    def close(self) -> None:
        """Leave without a word, as a killed process does."""
        self._socket.close()
