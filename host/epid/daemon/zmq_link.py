"""The way bytes take to a meter on Wi-Fi: its ZeroMQ publisher, subscribed to in full, and our commands as messages to it.

An XSUB socket is a SUB socket that may also send. It does not reconnect by itself here: the daemon does, and says so.
"""

from __future__ import annotations

import time

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from ..errors import LinkError
from .link import Address

_CONNECT_S = 3.0
_HEARTBEAT_MS = 1000
_SILENCE_MS = 5000
_MAX_MESSAGE_BYTES = 1 << 16
_WAITING_MESSAGES = 10_000

_FOREIGN = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_ENDS = (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED)


class ZmqLink:
    """Has the methods of `link.Link`; bytes are the frames as they would stand on a serial line."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XSUB)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.IPV6, 1),
            (zmq.RECONNECT_IVL, -1),
            (zmq.HEARTBEAT_IVL, _HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS),
            (zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES),
            (zmq.RCVHWM, _WAITING_MESSAGES),
        ):
            self._socket.setsockopt(option, value)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket()
        self._waiting = zmq.asyncio.Socket.from_socket(self._socket)
        self._up = False
        self._until_s = time.monotonic() + _CONNECT_S
        try:
            self._socket.connect(f"tcp://{_bracketed(address.host)}:{address.port}")
            self._socket.send(b"\x01")
        except zmq.ZMQError as error:
            self.close()
            raise LinkError(f"{address} is no address of a meter: {error}") from error

    async def readable(self, timeout_s: float) -> bool:
        """Wait for frames, at most `timeout_s`; LinkError where the meter is not there or has gone."""
        waits = await self._waiting.poll(round(timeout_s * 1000))
        while self._monitor.poll(0):
            self._heed(recv_monitor_message(self._monitor)["event"])
        if not self._up and time.monotonic() > self._until_s:
            raise LinkError(f"no meter answers at {self.address}: nothing came in {_CONNECT_S:.0f} s")
        return bool(waits)

    def read(self) -> bytes:
        """Return the frames that have come since the last call."""
        frames = []
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frames.append(self._socket.recv_multipart()[-1])
        return b"".join(frames)

    def write(self, data: bytes) -> None:
        """Send a command to the meter."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise LinkError(f"cannot write to the meter on {self.address}: {error}") from error

    def close(self) -> None:
        """Close; safe to call twice."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._waiting.close(linger=0)
            self._socket.close()

    def _heed(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up = True
        elif event in _FOREIGN:
            raise LinkError(f"something that is no ZeroMQ publisher answers at {self.address}; is this the meter's port?")
        elif event in _ENDS and self._up:
            raise LinkError(f"the meter on {self.address} is gone: the line was closed")
        elif event in _ENDS:
            raise LinkError(f"no meter answers at {self.address}; is it in the Wi-Fi, and has its config.json a wifi?")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
