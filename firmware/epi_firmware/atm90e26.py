"""ATM90E26: start-up, checksums and read-clear registers (Atmel-46002B datasheet, Atmel-46102B application note).

The rules that this driver keeps: a configuration counts only when the checksums that *we* computed stand against those that
the chip computed; LSB is the very next access after its register; an energy register, which forgets its value when read, is
read between a sentinel and LastData.
"""

from . import registers as reg
from .blocks import checksum
from .registers import const

NOT_READ = -1
"""read_energy: the register was not read; its ticks are still in the chip."""

LOST = -2
"""read_energy: the register may have been cleared, and its value is not known with certainty."""

OK, METERING_BAD, MEASUREMENT_BAD = 0, 1, 2

_ATTEMPTS = const(3)
_ALL_ONES = const(0xFFFF)


class Atm90e26:
    """One chip behind `port`, and the blocks of registers that it shall run with."""

    def __init__(self, port, metering, measurement, sag_threshold):
        self.port = port
        self.doubtful = False
        self.cs1 = checksum(metering)
        self.cs2 = checksum(measurement)
        self._metering = metering
        self._measurement = measurement
        self._sag_threshold = sag_threshold

    def heartbeat(self):
        """Return CalStart: CODE_CHECK while the chip runs, CODE_POWER_ON after a reset, FFFFH or 0 where nobody answers."""
        return self.port.read(reg.CAL_START, reg.CODE_CHECK)

    def answers(self):
        """True when somebody drives the line: neither CalStart nor CS1 are all ones or all zeros on a living chip."""
        return _driven(self.heartbeat()) or _driven(self.port.read(reg.CS1, self.cs1))

    def runs_our_settings(self):
        """True when the chip runs with exactly our configuration: after a reset of the board alone, say."""
        return not self._difference()

    def straps(self):
        """Return pins MMD1:MMD0, or what they should be where two readings differ: a line that lies is no wrong strap."""
        first, second = self.port.read(reg.EN_STATUS) & reg.STRAPS, self.port.read(reg.EN_STATUS) & reg.STRAPS
        return first if first == second else reg.STRAPS_L_FIXED

    def soft_reset(self):
        """Put every register back to its reset value; the chip needs RESET_US of quiet after it."""
        self.port.write(reg.SOFT_RESET, reg.RESET_CODE)

    def configure(self):
        """Load both blocks, let the chip check them, and start it; return "" or what went wrong in words."""
        self.port.write(reg.FUNC_EN, reg.FUNC_EN_RESET)
        self.port.write(reg.SAG_TH, self._sag_threshold)
        self._load(reg.CAL_START, self._metering, self.cs1)
        self._load(reg.ADJ_START, self._measurement, self.cs2)
        trouble = self._checksum_trouble()
        if trouble:
            return trouble
        self.port.write(reg.CAL_START, reg.CODE_CHECK)
        self.port.write(reg.ADJ_START, reg.CODE_CHECK)
        status = self.read_status()
        if status & (reg.CAL_ERR | reg.ADJ_ERR):
            return "the chip reports a checksum error (SysStatus %04XH)" % status
        return self._difference()

    def reload_measurement(self):
        """Load the measurement block again while metering goes on; return "" or what went wrong in words."""
        self._load(reg.ADJ_START, self._measurement, self.cs2)
        trouble = self._checksum_trouble()
        if not trouble:
            self.port.write(reg.ADJ_START, reg.CODE_CHECK)
        return trouble

    def read_energy(self, address, limit):
        """Return the ticks in the energy register at `address` and clear it, or NOT_READ, or LOST.

        CalStart is read first: as long as LastData shows it, the energy register has not been read. More than `limit` ticks
        cannot have come together since the last reading: then the line has made another register of our address.
        `doubtful` is raised, and stays, when a value was returned for which only LastData stands.
        """
        for _attempt in range(_ATTEMPTS):
            if self.heartbeat() == reg.CODE_CHECK:
                ticks = self._read_cleared(address)
                if ticks > limit:
                    return LOST
                if ticks != NOT_READ:
                    return ticks
        return NOT_READ

    def read_absolute(self, expected):
        """Return the ticks in the absolute energy register and clear it, or NOT_READ. What is `expected` needs no second look."""
        ticks = self.port.read(reg.AT_ENERGY)
        if ticks != expected and ticks != self.port.read(reg.LAST_DATA):
            ticks = self.port.read(reg.LAST_DATA)
        return NOT_READ if ticks == _ALL_ONES else ticks

    def read_status(self):
        """Return SysStatus, which reading clears; 0 where it was not read with certainty."""
        first = self.port.read(reg.SYS_STATUS)
        return first if first == self.port.read(reg.LAST_DATA) else 0

    def watch(self, turn):
        """Look after one of three things by turns; return OK, METERING_BAD or MEASUREMENT_BAD. A mismatch is looked at twice."""
        if turn == 0:
            return METERING_BAD if self._mismatch(reg.CS1, self.cs1) else OK
        if turn == 1:
            return MEASUREMENT_BAD if self._mismatch(reg.CS2, self.cs2) else OK
        status = self.read_status()
        if status == _ALL_ONES:
            return OK
        if status & reg.CAL_ERR == reg.CAL_ERR:
            return METERING_BAD
        return MEASUREMENT_BAD if status & reg.ADJ_ERR == reg.ADJ_ERR else OK

    def _load(self, start, block, block_checksum):
        write = self.port.write
        write(start, reg.CODE_CONFIGURE)
        for value in block:
            start += 1
            write(start, value)
        write(start + 1, block_checksum)

    def _checksum_trouble(self):
        for name, address, expected in (("CS1", reg.CS1, self.cs1), ("CS2", reg.CS2, self.cs2)):
            found = self.port.read(address, expected)
            if found != expected:
                return "%s reads %04XH and should be %04XH" % (name, found, expected)
        return ""

    def _difference(self):
        for name, address, expected in (
            ("CalStart", reg.CAL_START, reg.CODE_CHECK),
            ("AdjStart", reg.ADJ_START, reg.CODE_CHECK),
            ("FuncEn", reg.FUNC_EN, reg.FUNC_EN_RESET),
            ("SagTh", reg.SAG_TH, self._sag_threshold),
        ):
            found = self.port.read(address, expected)
            if found != expected:
                return "%s reads %04XH and should be %04XH" % (name, found, expected)
        return self._checksum_trouble()

    def _mismatch(self, address, expected):
        port = self.port
        if port.read(address, expected) == expected:
            return False
        found = port.read(address, expected)
        return found != expected and _driven(found) and found == port.read(address, expected)

    def _read_cleared(self, address):
        port = self.port
        value = port.read(address)
        last = port.read(reg.LAST_DATA)
        if value == last and last != reg.CODE_CHECK and last != _ALL_ONES:
            return value
        again = port.read(reg.LAST_DATA)
        if again == reg.CODE_CHECK:
            return NOT_READ
        if again == _ALL_ONES or (again != value and again != last):
            return LOST
        # Twice LastData against the register: either the register was misread, or the first reading of LastData went to
        # another register, whose data LastData has shown ever since. The first is likelier; nobody can tell.
        if again != value:
            self.doubtful = True
        return again


def _driven(word):
    """True when a chip must have answered: a line that nobody drives reads all ones, one that is shorted all zeros."""
    return word != 0 and word != _ALL_ONES
