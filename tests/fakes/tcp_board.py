"""The fake board on a TCP port of loopback: streams samples in real time, answers pings, can be cut off and come back."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

from epi_protocol import frame, messages

from . import board


class TcpBoard:
    """Serves one client after the other until `stop`. `prelude` is sent before HELLO; `hello` replaces the payload.

    A test that changes `hello` and `boot_id` together resets the board.
    """

    def __init__(self, power_w: Callable[[float], float], hello: bytes | None = None, prelude: bytes = b"") -> None:
        self.power_w = power_w
        self.hello = board.hello() if hello is None else hello
        self.prelude = prelude
        self.boot_id = board.BOOT
        self.skip: set[int] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._cut = threading.Event()
        self._zero_s = time.monotonic()
        self._energy_j, self._seq = 0.0, 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Drop the current client."""
        self._cut.set()

    def reset(self) -> None:
        """Restart under a new boot id, as after a dip of the supply; the client is gone with it."""
        self.boot_id = (int.from_bytes(self.boot_id, "big") + 1).to_bytes(4, "big")
        self.hello = board.hello(self.boot_id)
        self.cut()

    def overflow(self, frames: int) -> None:
        """Lose the next frames, as a ring does that nobody has read for long enough."""
        self.skip |= set(range(self._seq, self._seq + frames))

    def stop(self) -> None:
        """End for good."""
        self._stop.set()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.1)
            if ready:
                client, _address = self._listener.accept()
                self._cut.clear()
                with client:
                    self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        decoder = frame.CommandDecoder()
        client.sendall(self.prelude + (frame.encode(self.hello) if self.hello else b""))
        try:
            while not self._stop.is_set() and not self._cut.is_set():
                self._listen(client, decoder)
                self._sample(client)
        except OSError:
            return  # the daemon hung up: what a board without a host sees too

    def _listen(self, client: socket.socket, decoder: frame.CommandDecoder) -> None:
        until_s = self._zero_s + self._seq * 0.05
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([client], [], [], left_s)
            if not ready:
                return
            received_us = self._now_us()
            data = client.recv(1000)
            if not data:
                raise ConnectionError
            for byte in data:
                if decoder.feed(byte) == messages.size_of(messages.PING_FIELDS):
                    nonce = bytes(decoder.payload[1:5])
                    client.sendall(frame.encode(board.pong(nonce, received_us, self._now_us(), self.boot_id)))

    def _sample(self, client: socket.socket) -> None:
        p_w = self.power_w(self._seq * 0.05)
        if self._seq not in self.skip and self.hello:
            joules = [self._energy_j, self._seq * 0.25, 0, 0]
            payload = board.sample(self._seq, self._seq * 50_000, [p_w, 5.0, 0, 0], joules, boot_id=self.boot_id)
            client.sendall(frame.encode(payload))
        self._energy_j += p_w * 0.05
        self._seq += 1

    def _now_us(self) -> int:
        return round((time.monotonic() - self._zero_s) * 1e6)
