"""Talks to a running daemon: a question and its answer, or a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from epi_protocol import events

from ..errors import EpidError
from .keyring import KeyRing


class Connection:
    """One DEALER socket to a daemon, with the daemon's own key where it has a folder of keys."""

    def __init__(self, endpoint: str, key_folder: Path | None = None) -> None:
        self._endpoint, self._with_keys = endpoint, key_folder is not None
        # The context of the whole process: it needs no end, so that a client that was forgotten cannot hold up the interpreter.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if key_folder is not None:
            public, secret = KeyRing(key_folder).daemon_pair()
            for option, key in ((zmq.CURVE_PUBLICKEY, public), (zmq.CURVE_SECRETKEY, secret), (zmq.CURVE_SERVERKEY, public)):
                self._socket.setsockopt(option, key)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            sentence = f"{endpoint!r} is no address of a daemon ({error}); write for example tcp://127.0.0.1:5790"
            raise EpidError(sentence) from error

    def send(self, kind: str, body: dict[str, Any] | None = None) -> None:
        """Send one message."""
        self._socket.send_multipart(events.pack(kind, body))

    def receive(self, timeout_ms: int) -> tuple[str, dict[str, Any]]:
        """Return (kind, body) of the next message; EpidError where none comes in time."""
        if not self._socket.poll(timeout_ms):
            raise EpidError(
                f"no daemon answers at {self._endpoint}; start one with `epid serve`, or name its address with --daemon"
                f"{'' if self._with_keys else ' and its keys with --keys'}"
            )
        return events.unpack(self._socket.recv_multipart())

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def ask_status(endpoint: str, timeout_ms: int, key_folder: Path | None = None) -> dict[str, Any]:
    """Return the daemon's status map; EpidError where none answers in time."""
    connection = Connection(endpoint, key_folder)
    try:
        connection.send("status")
        return connection.receive(timeout_ms)[1]
    finally:
        connection.close()
