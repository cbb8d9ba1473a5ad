"""Asks a running daemon one question."""

from __future__ import annotations

from typing import Any

import zmq

from epi_protocol import events

from ..errors import EpidError


def ask_status(endpoint: str, timeout_ms: int) -> dict[str, Any]:
    """Return the daemon's status map; EpidError where none answers in time."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.connect(endpoint)
        socket.send_multipart(events.pack("status"))
        if not socket.poll(timeout_ms):
            raise EpidError(f"no daemon answers at {endpoint}; start one with `epid serve`, or name its address with --daemon")
        _kind, body = events.unpack(socket.recv_multipart())
        return body
    except zmq.ZMQError as error:
        raise EpidError(f"{endpoint!r} is no address of a daemon ({error}); write for example tcp://127.0.0.1:5790") from error
    finally:
        socket.close()
        context.term()
