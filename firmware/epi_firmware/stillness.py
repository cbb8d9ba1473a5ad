"""Readings that do not move: a steady load, or a chip that has stopped measuring?

A wrong CS2 or AdjStart freezes the measurement registers, and the chip goes on answering with their last values (application
note 2.3.3). A steady load looks the same, until somebody else is asked: AdjStart, and the metering chain, which has its own
opinion of the power.
"""

from epi_protocol.messages import CHANNEL_FIELDS, flag, offset_of

from . import registers as reg
from .registers import const

_STALE = flag("STALE")
_P, _EN_STATUS = offset_of(CHANNEL_FIELDS, "p"), offset_of(CHANNEL_FIELDS, "en_status")
_FORWARD, _REVERSE = offset_of(CHANNEL_FIELDS, "forward"), offset_of(CHANNEL_FIELDS, "reverse")

_FEW_TICKS = const(4)


class Stillness:
    """Judges the chip behind `port` by its `block`, once in `patience_sweeps` without a change.

    `per_p_x256`: 256 times the energy ticks per second that one unit of P stands for.
    """

    def __init__(self, port, block, patience_sweeps, sample_hz, per_p_x256):
        self._port = port
        self._block = block
        self._patience_sweeps = patience_sweeps
        self._sample_hz = sample_hz
        self._per_p_x256 = per_p_x256
        self._stopped = False
        self.restart()

    def restart(self):
        """The readings have moved, or there is no telling."""
        self._sweeps = 0
        self._stopped = False
        self._ticks = self._energy()

    def look(self, moved, energy_known):
        """Take note of one sweep; return the flag STALE while the chip does not measure."""
        if moved:
            self.restart()
            return 0
        if not self._stopped:
            self._wait(energy_known)
        return _STALE if self._stopped else 0

    def _wait(self, energy_known):
        self._sweeps += 1
        if self._sweeps < self._patience_sweeps:
            return
        stopped = not self._runs() or (energy_known and self._denied_by_energy())
        self.restart()
        self._stopped = stopped

    def _runs(self):
        return self._adj_start() == reg.CODE_CHECK or self._adj_start() == reg.CODE_CHECK

    def _adj_start(self):
        return self._port.read(reg.ADJ_START, reg.CODE_CHECK)

    def _denied_by_energy(self):
        """True when other energy came in than P says, by more than an eighth; where none is counted, that says nothing."""
        if self._get(_EN_STATUS) & reg.P_NO_LOAD:
            return False
        p = self._get(_P)
        p = 0x10000 - p if p & 0x8000 else p
        expected = ((p * self._per_p_x256 >> 6) * self._sweeps // self._sample_hz) >> 2
        came = (self._energy() - self._ticks) & 0xFFFF
        return abs(came - expected) > (expected >> 3) + _FEW_TICKS

    def _energy(self):
        """The low 16 bits of the sum of both directions."""
        return self._get(_FORWARD) + self._get(_REVERSE) & 0xFFFF

    def _get(self, at):
        return self._block[at] | self._block[at + 1] << 8
