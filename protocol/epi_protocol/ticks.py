"""64-bit counters made of bytes: time that does not wrap, and totals that do not overflow. Board-clean.

The RP2350's `time.ticks_us` wraps at 2**30 us (17.9 minutes) and an integer that large is allocated on the heap, so the board
keeps its long counters as eight little-endian bytes inside the message that carries them.
"""


def add_into(buf, at, width, amount):
    """Add `amount` (0 <= amount < 2**29) to the little-endian counter `buf[at:at+width]`, modulo 256**width.

    Allocates nothing.
    """
    end = at + width
    while amount and at < end:
        amount += buf[at]
        buf[at] = amount & 0xFF
        amount >>= 8
        at += 1


class Ticks64:
    """Unwraps a tick counter into the eight bytes `bytes` (little-endian microseconds since the first call).

    `ticks_us` and `ticks_diff` are the interpreter's own, given as arguments so that a test can bend time. `update` has to be
    called at least once per half wrap: every sweep does.
    """

    def __init__(self, ticks_us, ticks_diff):
        self.bytes = bytearray(8)
        self._ticks_us = ticks_us
        self._ticks_diff = ticks_diff
        self._last = ticks_us()

    def update(self):
        """Advance `bytes` to now and return the raw tick that now is."""
        now = self._ticks_us()
        step = self._ticks_diff(now, self._last)
        if step > 0:
            add_into(self.bytes, 0, 8, step)
            self._last = now
        return now

    def copy_into(self, buf, at):
        """Copy the eight bytes to `buf[at:at+8]`, allocating nothing."""
        source = self.bytes
        for i in range(8):
            buf[at + i] = source[i]
