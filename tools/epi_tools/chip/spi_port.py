"""The chip's side of SPI: chip select edges and clocks into accesses (datasheet 4.1, tables 8, 9 and 11).

One access is 24 clocks: read bit, 7 address bits, 16 data bits. Fewer clocks: nothing happens, although a read has
shifted out what it could. More: a write is refused, a read stands. 6 ms without a clock ends the access.
"""

from collections.abc import Callable

from epi_tools.chip.atm90e26 import Atm90e26
from epi_tools.chip.line_faults import CutLine, LineFaults

ACCESS_CLOCKS = 24
_RELEASED = 0xFF  # MISO is not driven: the pull-up reads as ones


class SpiPort:
    """Pins CS, SCLK, MOSI and MISO of one chip."""

    def __init__(self, chip: Atm90e26, clock: Callable[[], int], faults: LineFaults | CutLine | None = None) -> None:
        self.chip = chip
        self.faults = faults
        self.accesses = 0
        self._clock = clock
        self._timeout_ns = chip.timing.sclk_timeout_ns
        self._selected = self._aborted = False
        self._clocks = self._word = self._data = 0
        self._last_ns = 0

    def select(self) -> None:
        """CS falls."""
        self._selected = True
        self._aborted = False
        self._clocks = self._word = self._data = 0
        self._last_ns = self._clock()

    def deselect(self) -> None:
        """CS rises: this is when a complete access takes effect."""
        chip, clocks = self.chip, self._clocks
        complete = self._selected and not self._aborted and clocks >= ACCESS_CLOCKS and chip.powered
        self._selected = False
        if not complete:
            return
        self.accesses += 1
        head = self._word >> 16
        if head & 0x80:
            chip.complete_read(head & 0x7F, self._data)
        elif clocks == ACCESS_CLOCKS:
            chip.write(head, self._word & 0xFFFF)

    def exchange(self, sent: bytes | bytearray | memoryview) -> bytes:
        """Clock whole bytes; returns what MISO showed meanwhile."""
        if not self._listening():
            return b"\xff" * len(sent)
        if self._clocks or self.faults is not None or len(sent) != 3:
            return bytes([self.clock_bits(byte, 8) for byte in sent])
        # The access that everyone makes, at once; the same as 24 times `_clock_bit`.
        self._clocks = ACCESS_CLOCKS
        head = sent[0]
        self._word = head << 16 | sent[1] << 8 | sent[2]
        if head < 0x80:
            return b"\xff\xff\xff"
        self._data = data = self.chip.load(head & 0x7F)
        return bytes((_RELEASED, data >> 8, data & 0xFF))

    def clock_bits(self, mosi: int, count: int) -> int:
        """Clock `count` bits of `mosi`, most significant first; returns as many bits of MISO."""
        miso = 0
        listening = self._listening()
        for shift in range(count - 1, -1, -1):
            bit = self._clock_bit(mosi >> shift & 1) if listening else 1
            miso = miso << 1 | bit
        return miso

    def _listening(self) -> bool:
        """Whether clocks reach the chip now: selected, powered, and no 6 ms of silence before."""
        now_ns = self._clock()
        if now_ns - self._last_ns > self._timeout_ns:
            self._aborted = True
        self._last_ns = now_ns
        return self._selected and not self._aborted and self.chip.powered

    def _clock_bit(self, bit: int) -> int:
        faults, clock = self.faults, self._clocks
        if faults is None:
            return 1 if self._aborted else self._shift(bit)
        if faults.cuts(self._word, clock):
            self._aborted = True
        if self._aborted:
            return 1
        return self._shift(bit ^ faults.flips_mosi(clock)) ^ faults.flips_miso(clock)

    def _shift(self, bit: int) -> int:
        out = 1  # released, until a read has its data
        if 8 <= self._clocks < ACCESS_CLOCKS and self._word >> (self._clocks - 1) & 1:
            out = self._data >> (ACCESS_CLOCKS - 1 - self._clocks) & 1
        if self._clocks < ACCESS_CLOCKS:
            self._word = self._word << 1 | bit
        self._clocks += 1
        if self._clocks == 8 and self._word & 0x80:
            self._data = self.chip.load(self._word & 0x7F)
        return out


def read_frame(address: int) -> bytes:
    """Three bytes that read `address`."""
    return bytes((0x80 | address, 0, 0))


def write_frame(address: int, data: int) -> bytes:
    """Three bytes that write `data` to `address`."""
    return bytes((address & 0x7F, data >> 8, data & 0xFF))
