"""A node without inference: says what hookrun says, answers pings, makes spans of stated length."""

from __future__ import annotations

import time
from array import array
from typing import Any

import zmq

from epi_protocol import events

RUN = "ab12cd34ef56ab12"


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
    """A DEALER that talks to a daemon; `wait_for` answers pings while it waits. `ahead_ns`: how far its clock is off."""

    def __init__(self, endpoint: str, name: str = "pi0", protocol: int | None = None, key: dict[str, str] | None = None) -> None:
        # The context of the whole process: one of its own would wait for this socket where a test fails and forgets to close it.
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if key is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = key["public"].encode(), key["secret"].encode()
            self._socket.curve_serverkey = key["daemon"].encode()
        self.ahead_ns = 0
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

    def wait_for(self, kind: str, seconds: float = 10) -> dict[str, Any]:
        """Return the body of the next message of a kind; AssertionError where another answer or none comes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._socket.poll(50):
                received_ns = now_ns() + self.ahead_ns
                got, body = events.unpack(self._socket.recv_multipart())
                if got == "ping":
                    self.send("pong", nonce=body["nonce"], recv_ns=received_ns, send_ns=now_ns() + self.ahead_ns)
                elif got == kind:
                    return body
                elif got == "refused":
                    raise AssertionError(f"refused: {body['reason']}")
        raise AssertionError(f"no {kind} in {seconds} s")

    def answer_pings(self, seconds: float) -> None:
        """Stay on the line for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._socket.poll(20):
                received_ns = now_ns() + self.ahead_ns
                got, body = events.unpack(self._socket.recv_multipart())
                if got == "ping":
                    self.send("pong", nonce=body["nonce"], recv_ns=received_ns, send_ns=now_ns() + self.ahead_ns)

    def close(self) -> None:
        """Leave without a word, as a killed process does."""
        self._socket.close()
