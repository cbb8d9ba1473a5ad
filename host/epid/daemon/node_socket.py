"""The socket that the nodes talk to: a ROUTER of ZeroMQ, behind a door with keys where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from epi_protocol import events

from ..errors import UsageError
from .keyring import Doorkeeper, KeyRing

_MAX_MESSAGE_BYTES = 16 << 20
_LINGER_MS = 200


class NodeSocket:
    """Bound to `endpoint`, which then holds the port that was given; UsageError where it cannot be. `say` hears of strangers."""

    def __init__(self, endpoint: str, keys: KeyRing | None, say: Callable[[str], None]) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        self._door: AsyncioAuthenticator | None = None
        if keys is not None:
            self._lock(keys, say)
        self.endpoint = self._bind(endpoint)

    async def receive(self) -> tuple[bytes, list[bytes]]:
        """Return (identity of the peer, frames) of the next message."""
        identity, *frames = await self._socket.recv_multipart()
        return identity, frames

    async def send(self, identity: bytes, kind: str, body: dict[str, Any]) -> None:
        """Send a message. A ROUTER drops what is meant for a peer that has gone: that peer reconnects and asks again."""
        await self._socket.send_multipart([identity, *events.pack(kind, body)])

    def close(self) -> None:
        """Close; what was sent already still leaves."""
        self._socket.close()
        if self._door is not None:
            self._door.stop()
        self._context.term()

    def _lock(self, keys: KeyRing, say: Callable[[str], None]) -> None:
        """Let in only nodes whose key is on the ring."""
        self._door = AsyncioAuthenticator(self._context)
        self._door.start()
        self._door.configure_curve_callback(credentials_provider=Doorkeeper(keys, say))
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = keys.daemon_pair()

    def _bind(self, endpoint: str) -> str:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno == zmq.EADDRINUSE:
                raise UsageError(f"{endpoint} is taken: another epid is running, or choose another port with --listen") from error
            raise UsageError(f"cannot listen on {endpoint}: {zmq.strerror(error.errno or 0)}") from error
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))
