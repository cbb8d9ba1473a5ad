"""One ATM90E26 on a shared SPI bus: 24 clocks per access, mode 3, timing of datasheet table 11."""

from .registers import READ, const

BAUDRATE_HZ = const(125_000)  # a 50 % clock may run at 136 kHz: SCLK high needs 3.67 us
POLARITY = const(1)
PHASE = const(1)

_HOLD_US = const(4)  # CS hold after the last clock: 30 T + 10 ns = 3.67 us
_HIGH_US = const(4)  # CS high between accesses: 3.67 us; longer than the 1.97 us after which the chip lets go of MISO
ACCESS_US = const(200)  # 24 clocks at 125 kHz, hold and gap


class SpiPort:
    """The wire to one chip. `cs` is a pin with on() and off(), resting high; allocates nothing per access."""

    def __init__(self, spi, cs, sleep_us):
        self._spi = spi
        self._cs = cs
        self._sleep_us = sleep_us
        self._tx = bytearray(3)
        self._rx = bytearray(3)

    def read(self, address, expected=0):
        """Return the 16 bits at `address`.

        `expected` is what the register should hold. It is sent along: should the read bit be flipped on the line, the read
        becomes a write, and that write then changes nothing.
        """
        self._access(READ | address, expected)
        return self._rx[1] << 8 | self._rx[2]

    def write(self, address, value):
        """Write 16 bits."""
        self._access(address, value)

    def _access(self, head, value):
        tx = self._tx
        tx[0] = head
        tx[1] = value >> 8
        tx[2] = value & 0xFF
        self._cs.off()
        self._spi.write_readinto(tx, self._rx)
        self._sleep_us(_HOLD_US)
        self._cs.on()
        self._sleep_us(_HIGH_US)
