"""One channel: the life of its chip, from absent to measuring and back.

ABSENT     nobody answers; the chip is looked for once per sweep, which costs the others less than a reading
RESETTING  SoftReset was written; the chip is left alone until its quiet time is over, then configured
RUNNING    configured, checked, and read in every sweep
"""

from epi_protocol.messages import CHANNEL_FIELDS, flag, offset_of

from . import registers as reg
from .atm90e26 import METERING_BAD, OK
from .measurement import put16
from .registers import const

ABSENT, RESETTING, RUNNING = 0, 1, 2
NOTE, WARNING, ERROR = 0, 1, 2

_INVALID, _ABSENT, _REINIT = flag("MEASURE_INVALID"), flag("ABSENT"), flag("REINIT")
_CALIBRATION, _SETTLING = flag("CALIBRATION_ERROR"), flag("SETTLING")
_LATE, _UNKNOWN = flag("ENERGY_LATE"), flag("ENERGY_UNKNOWN")
_DT_US, _FLAGS = offset_of(CHANNEL_FIELDS, "dt_us"), offset_of(CHANNEL_FIELDS, "flags")

_RESET_US = const(100_000)  # the datasheet gives no time; drivers in the field wait 50 to 200 ms
_RETRY_US = const(1_000_000)
_SILENT_SWEEPS = const(3)  # so many in a row without a known answer before a chip is given up
_PATIENCE_SWEEPS = const(10)  # chips and board get their supply together, and the chip takes 5 ms longer
_WATCH_TURNS = const(3)


class Channel:
    """Keeps `chip` running and has it read: P by `measurement` first, energy by `books` and the rest after.

    `log(level, text)` takes a sentence for a person; nothing else here allocates.
    """

    def __init__(self, name, chip, block, books, measurement, clock, settle_us, log):
        self.name = name
        self.state = ABSENT
        self._chip = chip
        self._block = block
        self._books = books
        self._measurement = measurement
        self._clock = clock
        self._settle_us = settle_us
        self._log = log
        self._flags = 0
        self._since = 0
        self._wait_us = _RESET_US
        self._settling = False
        self._lost = False  # a chip that had been running lost what it had counted
        self._refused = False
        self._silent = 0
        self._turn = 0
        self._reported = False

    def read_power(self, start):
        """First pass over all chips: P and its low bits, stamped. `start` is the tick at which the sweep began."""
        if self.state == RUNNING:
            put16(self._block, _DT_US, self._clock.ticks_diff(self._clock.ticks_us(), start) & 0xFFFF)
            self._flags = self._measurement.read_power()
        else:
            self._flags = _INVALID

    def read_rest(self):
        """Second pass: everything else of a running chip, or one step towards running of any other."""
        if self.state == RUNNING:
            self._read_running()
        elif self.state == RESETTING:
            self._await_reset()
        else:
            self._look_for_chip()
        put16(self._block, _FLAGS, self._flags)

    def _read_running(self):
        energy_flags = self._books.read()
        self._flags |= energy_flags
        if energy_flags & _LATE and not self._still_there():
            return
        self._silent = 0
        self._flags |= self._measurement.read_rest(not energy_flags & (_LATE | _UNKNOWN))
        if self._measurement.current_or_voltage_was_energy():
            self._books.doubt()
            self._flags |= _UNKNOWN
        self._turn = (self._turn + 1) % _WATCH_TURNS
        found = self._chip.watch(self._turn)
        if found == OK:
            self._check_settling()
        elif found == METERING_BAD:
            self._flags |= _CALIBRATION
            self._log(ERROR, "%s: the chip's metering registers no longer match their checksum; it is set up again" % self.name)
            self._reset(True)
        else:
            self._reload_measurement()

    def _still_there(self):
        found = self._chip.heartbeat()
        if found == reg.CODE_CHECK:
            return True
        if (found == reg.CODE_POWER_ON or found == reg.CODE_CONFIGURE) and found == self._chip.heartbeat():
            self._log(WARNING, "%s: the chip was reset behind our back (CalStart %04XH); it is set up again" % (self.name, found))
            self._reset(True)
            return False
        self._silent += 1
        self._flags |= _INVALID
        if self._silent >= _SILENT_SWEEPS:
            self._give_up(found)
        return False

    def _give_up(self, found):
        self._silent = 0
        self._log(ERROR, "%s: the chip does not answer any more (CalStart reads %04XH); check its wiring" % (self.name, found))
        self._reported = True
        self._lost = True
        self.state = ABSENT
        self._flags |= _ABSENT
        self._measurement.blank()

    def _look_for_chip(self):
        self._flags |= _ABSENT
        self._books.skip()
        if not self._chip.answers():
            self._report_absence()
        elif self._chip.runs_our_settings():
            self._log(NOTE, "%s: the chip is running with our settings; its energy registers are taken over" % self.name)
            self._run()
        else:  # whatever a chip has counted with other settings, or with corrupted ones while we were away, is lost
            self._reset(self._lost or self._chip.heartbeat() != reg.CODE_POWER_ON)

    def _report_absence(self):
        self._silent += 1
        if self._silent > _PATIENCE_SWEEPS and not self._reported:
            self._reported = True
            self._log(ERROR, "%s: no chip answers; check supply, chip select and the strap USEL (must be low)" % self.name)

    def _reset(self, lost):
        self._chip.soft_reset()
        self._lost = lost
        self._since = self._clock.ticks_us()
        self._measurement.blank()
        self._flags |= _INVALID | _SETTLING
        self.state = RESETTING

    def _await_reset(self):
        self._flags |= _SETTLING | _LATE
        if self._refused:
            self._flags |= _CALIBRATION
        if self._clock.ticks_diff(self._clock.ticks_us(), self._since) < self._wait_us:
            return
        if self._chip.heartbeat() != reg.CODE_POWER_ON:
            self.state = ABSENT
            return
        self._configure()

    def _configure(self):
        trouble = self._chip.configure()
        if trouble:
            self._refuse(trouble)
            return
        self._log(
            NOTE,
            "%s: set up; the chip's checksums are %04XH and %04XH, as computed" % (self.name, self._chip.cs1, self._chip.cs2),
        )
        if self._lost:
            self._books.doubt()
            self._flags |= _REINIT
        self._refused = False
        self._wait_us = _RESET_US
        self._books.restart()
        self._run()

    def _refuse(self, trouble):
        if self._refused:
            self._wait_us = _RETRY_US
        else:
            self._log(ERROR, "%s: the chip refuses its settings: %s; trying again" % (self.name, trouble))
        self._refused = True
        self._flags |= _CALIBRATION
        self._reset(self._lost)

    def _run(self):
        self.state = RUNNING
        self._reported = self._lost = False
        self._silent = 0
        self._settling = True
        self._since = self._clock.ticks_us()
        self._check_straps()

    def _check_straps(self):
        straps = self._chip.straps()
        if straps != reg.STRAPS_L_FIXED:
            self._log(
                ERROR,
                "%s: the chip's straps MMD1:MMD0 are %d%d (%s) and must be 01 (%s): set them and cut its supply"
                % (self.name, straps >> 1, straps & 1, reg.STRAP_MODES[straps], reg.STRAP_MODES[reg.STRAPS_L_FIXED]),
            )

    def _check_settling(self):
        if self._settling:
            if self._clock.ticks_diff(self._clock.ticks_us(), self._since) < self._settle_us:
                self._flags |= _SETTLING
            else:
                self._settling = False

    def _reload_measurement(self):
        self._flags |= _CALIBRATION | _INVALID
        self._log(ERROR, "%s: the chip's measurement registers no longer match their checksum; they are loaded again" % self.name)
        trouble = self._chip.reload_measurement()
        if trouble:
            self._log(ERROR, "%s: %s" % (self.name, trouble))
        self._settling = True
        self._since = self._clock.ticks_us()
