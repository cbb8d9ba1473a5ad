"""The energy books of one channel: two sums in its message block, and every doubt about them counted."""

from epi_protocol.messages import CHANNEL_FIELDS, flag, offset_of
from epi_protocol.ticks import add_into

from . import registers as reg
from .atm90e26 import LOST, NOT_READ
from .registers import const

_UNKNOWN_FLAG, _LATE_FLAG, _REVERSED_FLAG = flag("ENERGY_UNKNOWN"), flag("ENERGY_LATE"), flag("REVERSED")
_FORWARD, _REVERSE = offset_of(CHANNEL_FIELDS, "forward"), offset_of(CHANNEL_FIELDS, "reverse")
_UNKNOWN, _P = offset_of(CHANNEL_FIELDS, "unknown"), offset_of(CHANNEL_FIELDS, "p")

_ANY_TICKS = const(0xFFFE)
_P_CLEAR = const(2)  # units of the P register within which noise decides its sign
_MEASURABLE_S = const(400)  # 30-bit ticks tell differences up to 536 s


class EnergyBooks:
    """Adds up the readings of both energy registers of `chip` in `block`.

    Whatever is booked has a second witness: the absolute energy register counts the same ticks, and is cleared when it is
    asked. Energy of which it knows nothing came out of another register, into which the line had turned our address.

    `load_max` and `per_p_x256` are ticks per second: of the largest load, and 256 times of one unit of P. A reading of more
    than both together, P counted twice, is no true one. After a silence in which the largest load makes the registers
    wrap, the sum is in doubt.
    """

    def __init__(self, chip, block, clock, sample_hz, load_max, per_p_x256):
        self._chip = chip
        self._block = block
        self._clock = clock
        self._load_max = load_max
        self._per_p_x256 = per_p_x256
        self._measurable_sweeps = _MEASURABLE_S * sample_hz
        self._wrap_sweeps = 0x10000 // load_max * sample_hz
        self._unwitnessed = 0  # ticks booked beyond what the absolute register has counted
        self._late_sweeps = 0
        self._read_at = clock.ticks_us()
        self._anything_goes = True  # a chip that ran on while the board was away brings what it has

    def restart(self):
        """The chip has just been reset: its registers count from zero."""
        self._unwitnessed = 0
        self._late_sweeps = 0
        self._read_at = self._clock.ticks_us()
        self._anything_goes = False

    def doubt(self):
        """Count one sweep whose energy is not known with certainty."""
        add_into(self._block, _UNKNOWN, 2, 1)

    def skip(self):
        """Count one sweep in which the chip could not be asked; its registers go on counting."""
        self._late_sweeps += 1

    def read(self):
        """Read both registers, add them to the sums and return the flags that this sweep has earned."""
        now = self._clock.ticks_us()
        limit = self._limit(now)
        self._chip.doubtful = False
        forward = self._take(reg.AP_ENERGY, _FORWARD, limit)
        if forward == NOT_READ:
            self.skip()
            return _LATE_FLAG
        # Asked at once: should the line make its address 42H into 40H, then that has just been emptied.
        other = self._unwitnessed > 0 and self._ask_witness()
        reverse = self._take(reg.AN_ENERGY, _REVERSE, limit)
        flags = self._settle(forward, reverse, limit, now, other)
        return flags | _REVERSED_FLAG if reverse > 0 else flags

    def _take(self, address, at, limit):
        """Read one register into its sum; return what `read_energy` returned."""
        ticks = self._chip.read_energy(address, limit)
        if ticks > 0:
            add_into(self._block, at, 8, ticks)
            self._unwitnessed += ticks
        return ticks

    def _settle(self, forward, reverse, limit, now, other):
        overbooked = (forward > 0 or reverse > 0) and self._overbooked(reverse, limit, now)
        wrong = other or overbooked or self._chip.doubtful or self._against_p(forward, reverse)
        if wrong or forward == LOST or reverse == LOST:
            self.skip()
            self.doubt()
            return _UNKNOWN_FLAG
        if reverse == NOT_READ:
            self.skip()
            return _LATE_FLAG
        wrapped = self._late_sweeps > self._wrap_sweeps
        self._late_sweeps = 0
        self._read_at = now
        self._anything_goes = False
        if wrapped:
            self.doubt()
            return _UNKNOWN_FLAG
        return 0

    def _ask_witness(self):
        """Take what the absolute register has counted; return True where it was another register that answered."""
        counted = self._chip.read_absolute(self._unwitnessed)
        if counted == NOT_READ:
            return False
        self._unwitnessed -= counted
        return counted > 0 and self._unwitnessed > 0

    def _overbooked(self, reverse, limit, now):
        """True when more was booked than the absolute register has counted; what that has on top is no fault (datasheet 5.4).

        A tick that comes between two readings puts one register ahead of the other, so both are read again, in this order:
        a tick that comes now must not pass for one that was booked.
        """
        if reverse > 0 and self._unwitnessed > 0:
            self._ask_witness()
        if self._unwitnessed == 0:
            return False
        if reverse > 0:
            late = self._take(reg.AN_ENERGY, _REVERSE, limit)
        else:
            late = self._take(reg.AP_ENERGY, _FORWARD, limit)
        if late == NOT_READ:
            return False  # nobody there; asked again with the next sweep
        if self._unwitnessed:
            self._ask_witness()
        return self._close_witness(now) or late == LOST

    def _close_witness(self, now):
        """Return whether too much was booked. Too little is carried over: what may have come since `now`, and a tick for the
        fractions in the registers, which need not be in step."""
        overbooked = self._unwitnessed > 0
        carry = self._possible(now, self._clock.ticks_us())
        if not (self._late_sweeps or self._anything_goes):
            carry += 1
        self._unwitnessed = 0 if overbooked else max(self._unwitnessed, -carry)
        return overbooked

    def _against_p(self, forward, reverse):
        """True when energy came from the side that P says it did not: the line made 40H of 41H, or the other way round."""
        if self._late_sweeps or self._anything_goes:
            return False
        p = self._signed_p()
        return (reverse > 0 and p >= _P_CLEAR) or (forward > 0 and p < -_P_CLEAR)

    def _signed_p(self):
        p = self._block[_P] | self._block[_P + 1] << 8
        return p - 0x10000 if p & 0x8000 else p

    def _limit(self, now):
        if self._anything_goes or self._late_sweeps > self._measurable_sweeps:
            return _ANY_TICKS
        limit = self._possible(self._read_at, now) + 2
        return limit if limit < _ANY_TICKS else _ANY_TICKS

    def _possible(self, since, now):
        """Ticks that the largest load, and P twice on top, bring in the time from `since` to `now`, and some 4 ms more."""
        rate = self._load_max + (abs(self._signed_p()) * self._per_p_x256 >> 7)
        return ((self._clock.ticks_diff(now, since) >> 12) + 1) * rate >> 8
