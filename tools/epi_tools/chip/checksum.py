"""The checksum of the two calibration blocks, and the state that a start code and a checksum put a block into."""

from collections.abc import Iterable
from enum import Enum

from epi_tools.chip import registers as reg


def block_checksum(words: Iterable[int]) -> int:
    """CS1 or CS2 of a block's registers, without the start register (datasheet 5.2.2 and 5.3.2).

    Low byte: sum of all bytes modulo 256. High byte: exclusive or of all bytes.
    """
    total = parity = 0
    for word in words:
        high, low = word >> 8, word & 0xFF
        total += high + low
        parity ^= high ^ low
    return parity << 8 | total & 0xFF


class BlockState(Enum):
    """What a block does now."""

    OFF = "power-on, not started"
    UNCHECKED = "running, checksum not looked at"
    CHECKED = "running, checksum watched"
    FAILED = "stopped by a wrong checksum or start code"


class CalibrationBlock:
    """Registers `first`..`last` between a start register and a checksum register, in a shared register file."""

    def __init__(self, values: list[int], start: int, first: int, last: int, checksum: int) -> None:
        self._values = values
        self._start, self._first, self._last, self._checksum = start, first, last, checksum
        self.state = BlockState.OFF

    def __contains__(self, address: int) -> bool:
        return self._start <= address <= self._checksum

    @property
    def running(self) -> bool:
        return self.state is BlockState.UNCHECKED or self.state is BlockState.CHECKED

    def computed(self) -> int:
        """What the chip itself makes of the block; this is what a read of CS1 or CS2 returns."""
        return block_checksum(self._values[self._first : self._last + 1])

    def start(self, code: int) -> None:
        """React to a write of the start register."""
        if code == reg.SETTING:
            self._restore_defaults()
            self.state = BlockState.UNCHECKED
        elif code == reg.CHECKED:
            self.verify()
        elif code == reg.POWER_ON:
            self.state = BlockState.OFF
        else:
            self.state = BlockState.FAILED

    def verify(self) -> None:
        """Compare the written checksum with the computed one."""
        good = self._values[self._checksum] == self.computed()
        self.state = BlockState.CHECKED if good else BlockState.FAILED

    def _restore_defaults(self) -> None:
        for address in range(self._first, self._checksum + 1):
            self._values[address] = reg.RESET_VALUES.get(address, 0)
