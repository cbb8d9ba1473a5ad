"""Between the interpreter's console and the host's port: what the USB controller of a board does.

A board whose port is closed keeps the latest 256 bytes; one whose host does not read loses what does not fit, and never
waits long. A console on a pty would block for ever, so this side always drains it and drops instead.
"""

import os

from epi_tools.sim.host_port import CHUNK, HostPort

FIFO_BYTES = 256  # the board's CDC buffer while nobody holds the port
PENDING_BYTES = 4096  # what a host's serial driver holds for a reader that is late


class Bridge:
    """Pumps both directions without ever blocking. `dropped` counts bytes to the host that were lost."""

    def __init__(self, console: int, port: HostPort) -> None:
        self._console, self._port = console, port
        self._to_host = bytearray()
        self._to_board = bytearray()
        self._open = False
        self.dropped = 0
        self.sent = 0

    @property
    def takes_more(self) -> bool:
        """Whether bytes from the host are welcome, or the board is behind with reading."""
        return len(self._to_board) < CHUNK

    def from_board(self) -> None:
        """The console has bytes."""
        try:
            data = os.read(self._console, CHUNK)
        except BlockingIOError:
            return
        room = (PENDING_BYTES if self._open else FIFO_BYTES) - len(self._to_host)
        if self._open:
            self._to_host += data[: max(room, 0)]  # a full FIFO refuses the newest
        else:
            self._to_host = (self._to_host + data)[-FIFO_BYTES:]  # nobody there: the oldest go
        self.dropped += max(0, len(data) - room)
        self._flush_to_host()

    def from_host(self) -> None:
        """The port may have bytes."""
        if self.takes_more:
            self._to_board += self._port.receive()
        self._flush_to_board()

    def tend(self) -> None:
        """Notice that the port was opened or closed, and retry what is waiting; call some twenty times a second."""
        was_open, self._open = self._open, self._port.poll()
        if was_open and not self._open:
            self.dropped += max(0, len(self._to_host) - FIFO_BYTES)
            self._to_host = self._to_host[-FIFO_BYTES:]
        self._flush_to_host()
        self._flush_to_board()

    def forget(self) -> None:
        """The board has rebooted: its buffers are gone."""
        self.dropped += len(self._to_host)
        self._to_host.clear()
        self._to_board.clear()

    def _flush_to_host(self) -> None:
        if self._open and self._to_host:
            taken = self._port.send(bytes(self._to_host))
            self.sent += taken
            del self._to_host[:taken]

    def _flush_to_board(self) -> None:
        if not self._to_board:
            return
        try:
            taken = os.write(self._console, self._to_board)
        except BlockingIOError:
            return
        del self._to_board[:taken]
