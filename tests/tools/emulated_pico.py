"""A Pico with four chips on it, for the emulator rp2040py: `rp2040py micropython --board-spec emulated_pico.py:METER …`

The emulator runs the real MicroPython for the RP2040, instruction by instruction; its SPI0 and its pins lead to the same
register-level chips as in the simulator. Where $EPI_PICO_SWEEPS names a file, the nanoseconds of every sweep go there: of its
first and its last chip select, a line each.
"""

import os
from functools import partial
from pathlib import Path

from rp2040py.boards import BoardSpec
from rp2040py.gpio_pin import GPIOPinState

from epi_tools.chip import PI_SENSORS, Atm90e26, Circuit, Load, SpiPort
from epi_tools.chip.circuit import ASSUMED_TIMING
from epi_tools.plant import Constant
from epi_tools.sim.spi_bus import CS_PINS, SpiBus, SpiSettings

_CIRCUIT = Circuit(PI_SENSORS, Load())
LOADS_W = (3.5, 5.0, 11.0, 8.0)
_SSPCR0, _PHASE, _POLARITY = 0x000, 1 << 7, 1 << 6  # RP2040 datasheet 4.4.4
_PERI_HZ = 48_000_000  # MicroPython's clk_peri: USB's PLL; the emulator takes it for the CPU's clock, whatever was set
_QUIET_NS = 5_000_000  # between two sweeps; chip selects within one follow each other faster


class MeterChips:
    """Four ATM90E26 on SPI0, attached as the emulator asks for it."""

    def attach(self, rp2040):
        clock = rp2040.clock
        self._now_ns = lambda: int(clock.nanos)
        chips = [
            Atm90e26(Constant(watts), self._now_ns, _CIRCUIT, ASSUMED_TIMING, 0b01, seed) for seed, watts in enumerate(LOADS_W)
        ]
        self._bus = SpiBus([SpiPort(chip, self._now_ns) for chip in chips])
        self._spi, self._clock_ratio = rp2040.spi[0], _PERI_HZ / rp2040.clk_peri
        self._spi.on_transmit = self._transmit
        self._answer, self._done = 0xFF, clock.create_alarm(lambda: self._spi.complete_transmit(self._answer))
        self._sweep = SweepLog(os.environ.get("EPI_PICO_SWEEPS"))
        for pin in CS_PINS:
            rp2040.gpio[pin].add_listener(partial(self._select, pin))

    def _select(self, pin, new, _old):
        level = int(new != GPIOPinState.LOW)  # an input is pulled up
        self._bus.set_pin(pin, level)
        self._sweep.edge(self._now_ns())

    def _transmit(self, byte):
        control, hertz = self._spi.read_uint32(_SSPCR0), round(self._spi.clock_frequency * self._clock_ratio)
        self._bus.configure(SpiSettings(hertz, bool(control & _POLARITY), bool(control & _PHASE)))
        self._answer = self._bus.transfer(bytes([byte]))[0]
        self._done.schedule(8e9 / hertz)


class SweepLog:
    """Begin and end of the chip selects that follow each other closely."""

    def __init__(self, path):
        self._file = Path(path).open("w", buffering=1) if path else None  # noqa: SIM115 - until the emulator ends
        self._begin_ns = self._last_ns = 0

    def edge(self, now_ns):
        if now_ns - self._last_ns > _QUIET_NS:
            if self._file:
                self._file.write(f"{self._begin_ns} {self._last_ns}\n")
            self._begin_ns = now_ns
        self._last_ns = now_ns


METER = BoardSpec(extras=(MeterChips,))
