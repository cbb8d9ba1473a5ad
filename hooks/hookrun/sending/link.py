"""The socket to the daemon. One thread opens, polls and closes it: ZeroMQ sockets must not be shared."""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..errors import HookrunError
from .node_key import NodeKey
from .session import Message, Session

PATIENCE_MS = 1000
"""A daemon that takes no message for this long, with so few under way, is as good as gone."""
HEARTBEAT_MS = 1000
SILENCE_MS = 5000
"""A daemon that answers no heartbeat for this long is gone, even if its machine never said so."""
_TURNED_AWAY = (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_HUNG_UP = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
"""A daemon that wants another key hangs up like that, and one that is just dying does, too."""
_HANG_UPS = 3
"""In a row, at ZeroMQ's growing distances, which take some tenths of a second: nobody dies so slowly."""


class DaemonLink:
    """A DEALER that reconnects by itself and tells its session when it does."""

    def __init__(self, address: str, session: Session, clock: Callable[[], int], key: NodeKey | None = None) -> None:
        self.address, self.session, self._key = address, session, key
        self._clock = clock
        self._hang_ups = 0
        self._context = zmq.Context()
        try:
            self._connect()
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise HookrunError(
                f"{address!r} is no address of a daemon ({error}); one looks like tcp://192.168.1.20:5790"
            ) from None

    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Return what to poll."""
        return [self._socket, self._monitor]

    def handle(self) -> None:
        """Take whatever has arrived and answer it; never blocks."""
        while self._socket.poll(0):
            frames = self._socket.recv_multipart()
            self._send(self.session.received(frames, self._clock()))
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._hang_ups = 0
                self._send(self.session.connected())
            elif event == _HUNG_UP:
                self._hang_ups += 1
            elif event == zmq.EVENT_DISCONNECTED and not self._hang_ups:
                self._reconnect()
                return
            if event in _TURNED_AWAY or self._hang_ups >= _HANG_UPS:
                self.session.turned_away(self._key is not None)

    def begin(self, run_begin: dict[str, object]) -> None:
        """Open a run."""
        self._send(self.session.begin(run_begin))

    def send_due(self) -> None:
        """Send what the session has to say."""
        self._send(self.session.due())

    def close(self) -> None:
        """Say goodbye where someone listens, and free the socket."""
        try:
            self._socket.send_multipart([b"bye", b"\x80"], zmq.NOBLOCK)
        except zmq.Again:
            self._drop(linger_ms=0)
        else:
            self._drop(linger_ms=200)
        self._context.term()

    def _send(self, messages: list[Message]) -> None:
        for frames in messages:
            try:
                self._socket.send_multipart(frames)
            except zmq.Again:  # no peer, or one that reads nothing: the same as none
                self._reconnect()
                return

    def _reconnect(self) -> None:
        """Start over on a fresh socket, so that nothing queued for the old connection reaches the new one."""
        self.session.disconnected()
        self._drop(linger_ms=0)
        self._connect()

    def _connect(self) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
        if self._key is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = self._key.public, self._key.secret
            self._socket.curve_serverkey = self._key.daemon
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HUNG_UP | sum(_TURNED_AWAY)
        self._monitor = self._socket.get_monitor_socket(events)
        self._socket.connect(self.address)

    def _drop(self, linger_ms: int) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger_ms)
