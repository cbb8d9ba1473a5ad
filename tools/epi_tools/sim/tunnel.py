"""The simulator's end of the tunnel: records from the board's `machine` module onto the SPI bus.

A record is 5 bytes: operation, argument, and 24 bits of microseconds since the record before it, least byte first. The last
record of a packet happened when the packet arrived, so the times of the others follow backwards from it.
"""

import socket
from collections.abc import Callable
from typing import Final

from epi_tools.sim.spi_bus import SpiBus, SpiSettings

LOW: Final = 0
HIGH: Final = 1
TRANSFER: Final = 2
WRITE: Final = 3
SPI_SETUP: Final = 4
READ_PIN: Final = 5
RESET: Final = 6
FEED: Final = 7
WATCH: Final = 8

_HEAD = 5
_CARRIERS = frozenset({TRANSFER, WRITE, SPI_SETUP, WATCH})


class BusClock:
    """The chips' time: that of the record in hand, never going back."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def read_ns(self) -> int:
        return self.now_ns

    def advance(self, now_ns: int) -> None:
        if now_ns > self.now_ns:
            self.now_ns = now_ns


class Tunnel:
    """Serves one boot of the board.

    Set by the board: `reset_asked`, `watchdog_ns` (0: none) and `fed_ns`, when it last fed the watchdog.
    """

    def __init__(self, connection: socket.socket, bus: SpiBus, bus_clock: BusClock, clock: Callable[[], int]) -> None:
        self._connection, self._bus, self._bus_clock, self._clock = connection, bus, bus_clock, clock
        self.reset_asked = False
        self.watchdog_ns = 0
        self.fed_ns = 0

    def serve(self) -> bool:
        """Handle one packet that is waiting on the socket; False when the board has hung up."""
        try:
            packet = self._connection.recv(512)
            self._serve_records(packet)
        except ConnectionError:
            return False  # killed in the middle of a transfer
        return bool(packet)

    def watchdog_bites(self, now_ns: int) -> bool:
        """Whether a watchdog was started and has waited too long for its food."""
        return bool(self.watchdog_ns) and now_ns - self.fed_ns > self.watchdog_ns

    def _serve_records(self, packet: bytes) -> None:
        bus, bus_clock = self._bus, self._bus_clock
        now_ns = self._clock() - self._age_ns(packet)
        at, end = 0, len(packet)
        while at < end:
            operation, argument = packet[at], packet[at + 1]
            if at:
                now_ns += 1000 * (packet[at + 2] | packet[at + 3] << 8 | packet[at + 4] << 16)
            bus_clock.advance(now_ns)
            at += _HEAD
            if operation <= HIGH:
                bus.set_pin(argument, operation)
            elif operation == TRANSFER:
                self._connection.send(bus.transfer(packet[at : at + argument]))
                at += argument
            else:
                self._serve_rare(operation, packet[at : at + argument], now_ns)
                at += argument if operation in _CARRIERS else 0

    def _serve_rare(self, operation: int, data: bytes, now_ns: int) -> None:
        if operation == WRITE:
            self._bus.transfer(data)
        elif operation == SPI_SETUP:
            self._bus.configure(SpiSettings(int.from_bytes(data[:4], "little"), data[4], data[5]))
        elif operation == READ_PIN:
            self._connection.send(b"\x01")  # no input is wired: the pull-up wins
        elif operation == RESET:
            self.reset_asked = True
        elif operation == FEED:
            self.fed_ns = now_ns
        elif operation == WATCH:
            self.watchdog_ns, self.fed_ns = int.from_bytes(data, "little") * 1_000_000, now_ns
        else:
            raise ValueError(f"the board sent an unknown record, operation {operation}")

    @staticmethod
    def _age_ns(packet: bytes) -> int:
        """Time between the first record of a packet and the last."""
        age_us, at = 0, 0
        while at < len(packet):
            if at:
                age_us += packet[at + 2] | packet[at + 3] << 8 | packet[at + 4] << 16
            at += _HEAD + (packet[at + 1] if packet[at] in _CARRIERS else 0)
        return age_us * 1000
