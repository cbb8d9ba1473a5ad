"""The measurement registers of one channel, copied into its message block as the chip gave them."""

from epi_protocol.messages import CHANNEL_FIELDS, flag, offset_of

from . import registers as reg
from .registers import const

_INVALID, _NO_LOAD, _REVERSED = flag("MEASURE_INVALID"), flag("NO_LOAD"), flag("REVERSED")
_P, _Q, _S = offset_of(CHANNEL_FIELDS, "p"), offset_of(CHANNEL_FIELDS, "q"), offset_of(CHANNEL_FIELDS, "s")
_U, _I = offset_of(CHANNEL_FIELDS, "u"), offset_of(CHANNEL_FIELDS, "i")
_PF, _FREQ = offset_of(CHANNEL_FIELDS, "pf"), offset_of(CHANNEL_FIELDS, "freq")
_EN_STATUS = offset_of(CHANNEL_FIELDS, "en_status")

_FREQ_MIN, _FREQ_MAX = const(4500), const(6500)  # 0.01 Hz: outside, the register means nothing
_MAINS_MIN = const(5000)  # 0.01 V: without mains there is no frequency to check
_S_MIN = const(16)  # below this S, the chip's ratios are too coarse to be held against each other
_FEW_TICKS = const(16)
_PF_MAX = const(1000)


def put16(buf, at, value):
    """Write 16 bits little-endian."""
    buf[at] = value & 0xFF
    buf[at + 1] = value >> 8


class MeasurementReader:
    """Reads through `port` into `block`. A reading that cannot be true raises MEASURE_INVALID, never an exception.

    `stillness` judges readings that do not move.
    """

    def __init__(self, port, block, stillness):
        self._port = port
        self._block = block
        self._stillness = stillness
        self._changed = False
        self._flowed = False

    def blank(self):
        """Leave no old readings behind: zeros, which the flags that go with them declare invalid."""
        for at in range(_P, _EN_STATUS + 2):
            self._block[at] = 0
        self._stillness.restart()

    def read_power(self):
        """Read P and its low bits; return the flags earned."""
        self._changed = False
        return self._extended(reg.P_MEAN, _P)

    def read_rest(self, energy_known):
        """Read everything else; return the flags earned. `energy_known`: the energy of this sweep was read with certainty.

        Irms comes first, right behind the energy registers: should the line make its address 48H into 40H, then the energy
        register that is cleared for nothing has just been emptied.
        """
        self._flowed = self._get(_U) > _FEW_TICKS and self._get(_I) > _FEW_TICKS
        flags = self._extended(reg.I_RMS, _I)
        flags |= self._extended(reg.U_RMS, _U)
        flags |= self._extended(reg.Q_MEAN, _Q)
        flags |= self._extended(reg.S_MEAN, _S)
        if self._block[_S + 1] & 0x80:
            flags |= _INVALID
        flags |= self._ratios() | self._en_status()
        return flags | self._stillness.look(self._changed, energy_known)

    def current_or_voltage_was_energy(self):
        """True when U or I has fallen to next to nothing and S has not: 49H or 48H has become 41H or 40H on the line."""
        return self._flowed and self._get(_S) >= _S_MIN and (self._get(_U) <= _FEW_TICKS or self._get(_I) <= _FEW_TICKS)

    def _extended(self, address, at):
        block = self._block
        main = self._port.read(address)
        low = self._port.read(reg.LSB)
        if block[at] != main & 0xFF or block[at + 3] != low >> 8:
            self._changed = True
        put16(block, at, main)
        put16(block, at + 2, low)
        return _INVALID if low & 0xFF else 0

    def _ratios(self):
        pf = self._port.read(reg.POWER_F)
        freq = self._port.read(reg.FREQ)
        put16(self._block, _PF, pf)
        put16(self._block, _FREQ, freq)
        u, s = self._get(_U), self._get(_S)
        if u >= _MAINS_MIN and not _FREQ_MIN <= freq <= _FREQ_MAX:
            return _INVALID
        if s < _S_MIN:
            return 0
        return 0 if self._agree(u, self._get(_I), s) and self._p_fits(pf & 0x7FFF, s) else _INVALID

    def _agree(self, u, i, s):
        """U times I is S within a factor of four: S may leave harmonics out, U and I do not."""
        product, expected = (u >> 4) * i, s * 6250  # 1e5 units of U * I make one of S, a sixteenth of them 6250
        return product >> 2 <= expected <= product << 2

    def _p_fits(self, pf, s):
        """|P| is PF times S within a quarter of S: the chip may have refreshed its registers in between."""
        p = self._get(_P)
        magnitude = 0x10000 - p if p & 0x8000 else p
        off = magnitude * 1000 - pf * s
        return pf <= _PF_MAX and -250 * s - 2000 <= off <= 250 * s + 2000

    def _get(self, at):
        return self._block[at] | self._block[at + 1] << 8

    def _en_status(self):
        status = self._port.read(reg.EN_STATUS)
        put16(self._block, _EN_STATUS, status)
        if status == 0xFFFF:
            return _INVALID
        if status & reg.P_NO_LOAD:
            return _NO_LOAD
        return _REVERSED if status & reg.REV_P else 0
