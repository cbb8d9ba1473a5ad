"""Asks a running daemon one question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from epi_protocol import events

from ..errors import EpidError
from .keyring import KeyRing


def ask_status(endpoint: str, timeout_ms: int, key_folder: Path | None = None) -> dict[str, Any]:
    """Return the daemon's status map, asking with its own key where it has one; EpidError where none answers in time."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        if key_folder is not None:
            public, secret = KeyRing(key_folder).daemon_pair()
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, public
        socket.connect(endpoint)
        socket.send_multipart(events.pack("status"))
        if not socket.poll(timeout_ms):
            raise EpidError(
                f"no daemon answers at {endpoint}; start one with `epid serve`, or name its address with --daemon"
                f"{'' if key_folder else ' and its keys with --keys'}"
            )
        _kind, body = events.unpack(socket.recv_multipart())
        return body
    except zmq.ZMQError as error:
        raise EpidError(f"{endpoint!r} is no address of a daemon ({error}); write for example tcp://127.0.0.1:5790") from error
    finally:
        socket.close()
        context.term()
