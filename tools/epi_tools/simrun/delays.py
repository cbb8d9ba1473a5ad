"""Clocks that run apart, and messages that take their time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from epi_tools.sim.virtual import TICKS_PERIOD, VirtualClock

_LEAST_NS = 40_000


class RunningApart:
    """A clock that runs `ppm` fast against true time and shows `offset_ns` at true zero."""

    def __init__(self, ppm: float, offset_ns: int) -> None:
        self._rate_e9, self._offset_ns = round(ppm * 1000), offset_ns

    def at(self, true_ns: int) -> int:
        """What this clock shows at a moment of true time; exact in integers."""
        return true_ns + true_ns * self._rate_e9 // 1_000_000_000 + self._offset_ns


class BoardTicks:
    """The board's `time` module: ticks of 30 bits that run apart from the true clock the chips are metered by."""

    def __init__(self, true: VirtualClock, shown: RunningApart) -> None:
        self._true, self._shown = true, shown
        self.ticks_diff, self.ticks_add, self.sleep_us = true.ticks_diff, true.ticks_add, true.sleep_us

    def ticks_us(self) -> int:
        """Microseconds modulo 2^30."""
        return self._shown.at(self._true.now_ns) // 1000 % TICKS_PERIOD


class BoardLine:
    """The firmware's serial port, with a host at the other end: see epi_firmware.serial_port.SerialPort for its methods.

    `deliver` sends the board a command that arrives later; `take` returns what the board has written and when it arrives.
    After a frame nothing falls due on the board for `quiet_ns` at least: a wait that begins then is passed in one piece.
    """

    chunk = 4096

    def __init__(self, clock: VirtualClock, delay_ns: Callable[[], int], quiet_ns: int) -> None:
        self._clock, self._delay_ns, self._quiet_ns = clock, delay_ns, quiet_ns
        self._quiet_until_ns = 0
        self._coming: list[tuple[int, bytes]] = []
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._last_ns = 0

    def deliver(self, command: bytes) -> None:
        """Send the board a command now."""
        self._coming.append((self._clock.now_ns + self._delay_ns(), command))

    def take(self) -> tuple[int, bytes] | None:
        """Return (arrival in true time, bytes) of what was written since the last call, in order of arrival."""
        if not self._outbox:
            return None
        self._last_ns = max(self._last_ns + 1, self._clock.now_ns + self._delay_ns())
        out, self._outbox = bytes(self._outbox), bytearray()
        return self._last_ns, out

    def readable(self, timeout_ms: int) -> bool:
        """Whether a byte has come; waits in virtual time, and no longer than until the next one comes."""
        if self._inbox:
            return True
        until_ns = self._clock.now_ns + timeout_ms * 1_000_000
        if timeout_ms and not self._outbox:
            until_ns = max(until_ns, self._quiet_until_ns)
        if self._coming and self._coming[0][0] <= until_ns:
            arrives_ns, command = self._coming.pop(0)
            self._clock.now_ns = max(self._clock.now_ns, arrives_ns)
            self._inbox += command
            return True
        self._clock.now_ns = until_ns
        return False

    def read_byte(self) -> int:
        """The next byte of a command."""
        return self._inbox.pop(0)

    def writable(self) -> bool:
        """This line always takes bytes."""
        return True

    def write(self, buf: bytearray, start: int, n: int) -> int:
        """Take bytes from the board."""
        self._outbox += memoryview(buf)[start : start + n]
        self._quiet_until_ns = self._clock.now_ns + self._quiet_ns
        return n


def uniform_delays(rng: Random, longest_ms: float) -> Callable[[], int]:
    """Delays of one leg: a least one, and up to `longest_ms` more, as a frame waits for the bus (nanoseconds)."""
    longest_ns = round(longest_ms * 1e6)
    return lambda: _LEAST_NS + rng.randint(0, longest_ns)
