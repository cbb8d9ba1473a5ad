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
        self._late_sweeps = 0
        self._read_at = clock.ticks_us()
        self._anything_goes = True  # a chip that ran on while the board was away brings what it has

    def restart(self):
        """The chip has just been reset: its registers count from zero."""
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
        forward = self._chip.read_energy(reg.AP_ENERGY, limit)
        if forward == NOT_READ:
            self.skip()
            return _LATE_FLAG
        reverse = self._chip.read_energy(reg.AN_ENERGY, limit)
        if forward > 0:
            add_into(self._block, _FORWARD, 8, forward)
        if reverse > 0:
            add_into(self._block, _REVERSE, 8, reverse)
        flags = self._settle(forward, reverse, now)
        return flags | _REVERSED_FLAG if reverse > 0 else flags

    def _settle(self, forward, reverse, now):
        if forward == LOST or reverse == LOST or self._chip.doubtful or self._against_p(forward, reverse):
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
        rate = self._load_max + (abs(self._signed_p()) * self._per_p_x256 >> 7)
        elapsed = self._clock.ticks_diff(now, self._read_at) >> 12
        limit = ((elapsed + 1) * rate >> 8) + 2
        return limit if limit < _ANY_TICKS else _ANY_TICKS
