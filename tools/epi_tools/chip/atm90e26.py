"""Register-level model of one ATM90E26: what each register does to energy and readings, lazily advanced in time.

Time comes from `clock`, nanoseconds on any monotonic scale, so a model runs live or thousands of times faster. Between two
accesses nothing is computed; an access integrates the power source's pieces since the last one.

Accesses arrive through `load` (the eighth clock of a read), `complete_read` and `write` (chip select rising); `SpiPort`
turns edges and clocks into these.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from epi_tools.chip import registers as reg
from epi_tools.chip.analog import PULSE_HZ_PER_RAW, work_out_inputs
from epi_tools.chip.checksum import BlockState, CalibrationBlock
from epi_tools.chip.circuit import ASSUMED_TIMING, REFERENCE_CIRCUIT, ChipTiming, Circuit, PowerSource
from epi_tools.chip.measurement import MeasurementChain
from epi_tools.chip.metering import EnergyCounter

# Enabling bit and status bit of a change of direction, for reactive (0) and active (1) energy.
_TURNS = ((reg.REV_Q_EN, reg.REV_Q_CHANGE), (reg.REV_P_EN, reg.REV_P_CHANGE))


class Atm90e26:
    """One chip between a power source and an SPI port.

    straps: pins MMD1:MMD0, 01 for one current sensor on L. seed: noise, and the phase of the refresh period.
    """

    def __init__(
        self,
        source: PowerSource,
        clock: Callable[[], int],
        circuit: Circuit = REFERENCE_CIRCUIT,
        timing: ChipTiming = ASSUMED_TIMING,
        straps: int = 0b01,
        seed: int = 0,
    ) -> None:
        if straps not in range(4):
            raise ValueError(f"the strap pins MMD1:MMD0 make a number from 0 to 3, not {straps}")
        self._source, self._clock, self._circuit = source, clock, circuit
        self._straps, self._rng = straps, Random(seed)
        self._phase_ns = self._rng.randrange(timing.refresh_ns)
        self.timing = timing
        self.powered = True
        self._values = [0] * 128
        self._metering_block = CalibrationBlock(self._values, reg.CAL_START, reg.PL_CONST_H, reg.M_MODE, reg.CS1)
        self._measuring_block = CalibrationBlock(self._values, reg.ADJ_START, reg.U_GAIN, reg.Q_OFFSET_N, reg.CS2)
        self._blocks = (self._metering_block, self._measuring_block)
        self._loaders = self._load_table()
        self._reset()

    # --- accesses ---------------------------------------------------------------------------------------------------

    def load(self, address: int) -> int:
        """The word a read of `address` shifts out; has no effect on any register. Unlisted addresses give 0."""
        if self._ready_ns and not self._ready():
            return 0
        loader = self._loaders.get(address)
        return loader(address) if loader else self._values[address]

    def complete_read(self, address: int, data: int) -> None:
        """A read of `address` that gave `data` has run its 24 clocks: LastData, LSB latch, clear on read."""
        if self._ready_ns and not self._ready():
            return
        self._values[reg.LAST_DATA] = data
        if address in reg.ENERGY:
            counter, direction = self._energy[address]
            counter.clear(direction, data)
        elif address == reg.SYS_STATUS:
            self._values[reg.SYS_STATUS] &= ~data
            self._relatch_ns = self._clock() + self.timing.checksum_ns
        elif address in self._measuring.contents:
            low = self._measuring.contents[address][1]
            if low is not None:
                self._values[reg.LSB] = low

    def write(self, address: int, data: int) -> None:
        """A write of exactly 24 clocks. Registers that cannot be written drop it, LastData unchanged."""
        if self._ready_ns and not self._ready():
            return
        if address == reg.SOFT_RESET:
            if data == reg.SOFT_RESET_KEY:
                self._reset()
            return
        if address in reg.WRITABLE:
            self._store(address, data)
            self._values[reg.LAST_DATA] = data

    # --- pins and counters ------------------------------------------------------------------------------------------

    @property
    def warn_out(self) -> bool:
        """WarnOut pin: a CS1 error, or a sag when SagWo asks for it."""
        self._settle()
        sag = self._sagging() and bool(self._values[reg.FUNC_EN] & reg.SAG_WO)
        return self.powered and (self._metering_block.state is BlockState.FAILED or sag)

    @property
    def irq(self) -> bool:
        """IRQ pin: any bit of SysStatus."""
        return self.powered and self.load(reg.SYS_STATUS) != 0

    @property
    def cf1_pulses(self) -> int:
        """Active energy pulses sent since reset; never more than 100 a second."""
        self._settle()
        return self._active.cf_pulses

    # --- the world around the chip ----------------------------------------------------------------------------------

    def change(self, **parts: Any) -> None:
        """Replace parts of the circuit from now on: `change(mains=Mains(volts=180))`."""
        self._settle()
        self._circuit = replace(self._circuit, **parts)
        self._configure()

    def keep_up(self) -> None:
        """Integrate up to now, so that a live source may forget its past."""
        self._settle()

    def corrupt(self, address: int, data: int) -> None:
        """Change a register behind the interface's back, as a discharge would."""
        self._settle()
        self._values[address] = data
        self._touched(address)

    def brown_out(self) -> None:
        """Supply dips below 2.3 V and returns: everything at reset values, energy not read yet is gone."""
        self.power_off()
        self.power_on()

    def power_off(self) -> None:
        self.powered = False

    def power_on(self) -> None:
        self.powered = True
        self._reset()

    # --- reset and configuration ------------------------------------------------------------------------------------

    def _reset(self) -> None:
        now_ns = self._clock()
        for address in range(128):
            self._values[address] = reg.RESET_VALUES.get(address, 0)
        for block in self._blocks:
            block.state = BlockState.OFF
        self._pl_const_h = self._values[reg.PL_CONST_H]
        self._active, self._reactive = EnergyCounter(now_ns), EnergyCounter(now_ns)
        self._energy = _energy_table(self._active, self._reactive)
        self._measuring = MeasurementChain(self.timing, self._phase_ns, self._rng)
        self._ready_ns = now_ns + self.timing.reset_ns
        self._check_ns = self._relatch_ns = 0
        self._configure()

    def _ready(self) -> bool:
        if self._clock() < self._ready_ns:
            return False
        self._ready_ns = 0
        return True

    def _store(self, address: int, data: int) -> None:
        self._settle()
        self._values[address] = data
        if address == reg.CAL_START:
            self._start_metering(data)
        elif address == reg.ADJ_START:
            self._start_measuring(data)
        else:
            self._touched(address)

    def _start_metering(self, code: int) -> None:
        self._metering_block.start(code)
        self._pl_const_h = self._values[reg.PL_CONST_H]
        self._flag_failures()
        self._configure()

    def _start_measuring(self, code: int) -> None:
        was_running = self._measuring_block.running
        self._measuring_block.start(code)
        if self._measuring_block.state is BlockState.OFF:
            self._measuring.stop()
        elif not was_running:
            self._measuring.start(self._clock())
        self._flag_failures()
        self._configure()

    def _touched(self, address: int) -> None:
        """A register changed: PLconstH takes effect with PLconstL; a watched block is checked before long."""
        if address == reg.PL_CONST_L:
            self._pl_const_h = self._values[reg.PL_CONST_H]
        watched = any(address in block and block.state is BlockState.CHECKED for block in self._blocks)
        if watched and not self._check_ns:
            self._check_ns = self._clock() + self.timing.checksum_ns
        self._configure()

    def _configure(self) -> None:
        values = self._values
        self._inputs = inputs = work_out_inputs(self._circuit, values, self._straps)
        pl_const = self._pl_const_h << 16 | values[reg.PL_CONST_L]
        quanta = 100 * PULSE_HZ_PER_RAW / pl_const * self._circuit.clock_speed if pl_const else 0.0
        self._active.configure(inputs.p_raw_per_w, inputs.ceiling_w, quanta, values[reg.P_START_TH], values[reg.P_NOL_TH])
        self._reactive.configure(inputs.q_raw_per_w, inputs.ceiling_w, quanta, values[reg.Q_START_TH], values[reg.Q_NOL_TH])
        if self._sagging():
            self._raise_flag(reg.SAG_WARN)

    # --- time -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Bring energy and measurement up to now."""
        now_ns = self._watched_now()
        self._meter(now_ns)
        self._measure(now_ns)

    def _watched_now(self) -> int:
        """The time; a checksum that fell due before it is looked at first, with both chains brought up to that moment."""
        now_ns = self._clock()
        if self._check_ns and now_ns >= self._check_ns:
            self._meter(self._check_ns)
            self._measure(self._check_ns)
            self._check_ns = 0
            self._verify_blocks()
        return now_ns

    def _meter(self, now_ns: int) -> None:
        self._meter_one(self._active, now_ns)
        self._meter_one(self._reactive, now_ns)

    def _meter_one(self, counter: EnergyCounter, now_ns: int) -> None:
        if not self._metering_block.running:
            counter.metered_ns = now_ns
            return
        counter.meter(self._source, now_ns)
        if counter.turned:
            counter.turned = False
            enable, flag = _TURNS[counter is self._active]
            if self._values[reg.FUNC_EN] & enable:
                self._raise_flag(flag)

    def _measure(self, now_ns: int) -> None:
        if self._measuring_block.running and now_ns >= self._measuring.due_ns:
            self._measuring.refresh(self._values, self._source, self._circuit, self._inputs, now_ns)

    def _verify_blocks(self) -> None:
        for block in self._blocks:
            if block.state is BlockState.CHECKED:
                block.verify()
        self._flag_failures()

    # --- status -----------------------------------------------------------------------------------------------------

    def _raise_flag(self, bits: int) -> None:
        self._values[reg.SYS_STATUS] |= bits

    def _flag_failures(self) -> None:
        if self._metering_block.state is BlockState.FAILED:
            self._raise_flag(reg.CAL_ERR)
        if self._measuring_block.state is BlockState.FAILED:
            self._raise_flag(reg.ADJ_ERR)

    def _sagging(self) -> bool:
        """SagTh is a peak in units of 10 mV times 32768 / (4 Ugain) (datasheet, register 03H)."""
        if not self._values[reg.FUNC_EN] & reg.SAG_EN:
            return False
        u_gain = self._values[reg.U_GAIN]
        peak = self._circuit.voltage_mv * u_gain / 300 * 2**0.5
        return peak < self._values[reg.SAG_TH] * 4 * u_gain / 32768

    # --- loaders ----------------------------------------------------------------------------------------------------

    def _load_table(self) -> dict[int, Callable[[int], int]]:
        table: dict[int, Callable[[int], int]] = {
            reg.SYS_STATUS: self._load_sys_status,
            reg.EN_STATUS: self._load_en_status,
            reg.CS1: lambda _: self._metering_block.computed(),
            reg.CS2: lambda _: self._measuring_block.computed(),
        }
        table |= dict.fromkeys(reg.ENERGY, self._load_energy)
        return table | dict.fromkeys(reg.MEASUREMENT, self._load_measurement)

    def _load_energy(self, address: int) -> int:
        counter, direction = self._energy[address]
        self._meter_one(counter, self._watched_now())
        word: int = getattr(counter, direction)
        return word

    def _load_measurement(self, address: int) -> int:
        self._measure(self._watched_now())
        return self._measuring.contents[address][0]

    def _load_sys_status(self, _: int) -> int:
        self._settle()
        if self._clock() >= self._relatch_ns:
            self._flag_failures()
        return self._values[reg.SYS_STATUS]

    def _load_en_status(self, _: int) -> int:
        self._meter(self._watched_now())
        active, reactive = self._active, self._reactive
        flags = reactive.no_load << 15 | active.no_load << 14 | reactive.flows_reverse << 13 | active.flows_reverse << 12
        return flags | self._inputs.meters_line << 11 | self._straps


def _energy_table(active: EnergyCounter, reactive: EnergyCounter) -> dict[int, tuple[EnergyCounter, str]]:
    return {
        reg.AP_ENERGY: (active, "forward"),
        reg.AN_ENERGY: (active, "reverse"),
        reg.AT_ENERGY: (active, "absolute"),
        reg.RP_ENERGY: (reactive, "forward"),
        reg.RN_ENERGY: (reactive, "reverse"),
        reg.RT_ENERGY: (reactive, "absolute"),
    }
