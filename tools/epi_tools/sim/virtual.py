"""Virtual time: the firmware's own driver, imported in CPython, on chip models that need no real second.

    board = VirtualBoard([Constant(5.0)] * 4)
    spi = board.spi(baudrate=125_000, polarity=1, phase=1)
    cs = board.pin(CS_PINS[0])                    # on(), off(), value()
    ...                                           # hand spi, cs, board.clock.ticks_us and board.clock.sleep_us to the driver

`VirtualSpi` and `VirtualPin` have the methods of MicroPython's `machine.SPI` and `machine.Pin` that a driver uses. Bytes on
the bus and sleeps take their virtual time; Python code takes none.
"""

from collections.abc import Sequence

from epi_tools.chip import ASSUMED_TIMING, REFERENCE_CIRCUIT, Atm90e26, ChipTiming, Circuit, LineFaults, PowerSource, SpiPort
from epi_tools.sim.spi_bus import CS_PINS, SpiBus, SpiSettings

TICKS_PERIOD = 1 << 30


class VirtualClock:
    """Nanoseconds that pass only when told; the board's ticks wrap at 2^30 as on an RP2350."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def read_ns(self) -> int:
        return self.now_ns

    def ticks_us(self) -> int:
        return self.now_ns // 1000 % TICKS_PERIOD

    def ticks_ms(self) -> int:
        return self.now_ns // 1_000_000 % TICKS_PERIOD

    @staticmethod
    def ticks_diff(end: int, start: int) -> int:
        half = TICKS_PERIOD >> 1
        return (end - start + half) % TICKS_PERIOD - half

    @staticmethod
    def ticks_add(ticks: int, delta: int) -> int:
        return (ticks + delta) % TICKS_PERIOD

    def sleep_us(self, us: int) -> None:
        if us > 0:
            self.now_ns += us * 1000

    def sleep_ms(self, ms: int) -> None:
        self.sleep_us(ms * 1000)


class VirtualPin:
    """`machine.Pin` as an output, wired to a bus."""

    IN, OUT = 0, 1

    def __init__(self, bus: SpiBus, number: int) -> None:
        self._set_pin, self._number, self._level = bus.set_pin, number, 1

    def value(self, level: int | None = None) -> int | None:
        if level is None:
            return self._level
        self._level = 1 if level else 0
        self._set_pin(self._number, self._level)
        return None

    def on(self) -> None:
        self._level = 1
        self._set_pin(self._number, 1)

    def off(self) -> None:
        self._level = 0
        self._set_pin(self._number, 0)


class VirtualSpi:
    """`machine.SPI` on a virtual bus."""

    def __init__(self, bus: SpiBus, clock: VirtualClock, baudrate: int) -> None:
        self._bus, self._clock = bus, clock
        self._byte_ns = 8_000_000_000 // baudrate

    def write_readinto(self, sent: bytes | bytearray | memoryview, received: bytearray | memoryview) -> None:
        length = len(sent)
        if length != len(received):
            raise ValueError("buffers must be the same length")
        received[:] = self._bus.transfer(sent)
        self._clock.now_ns += self._byte_ns * length

    def readinto(self, received: bytearray | memoryview, write: int = 0) -> None:
        received[:] = self._clocked(bytes([write]) * len(received))

    def read(self, nbytes: int, write: int = 0) -> bytes:
        return self._clocked(bytes([write]) * nbytes)

    def write(self, sent: bytes | bytearray | memoryview) -> None:
        self._clocked(sent)

    def _clocked(self, sent: bytes | bytearray | memoryview) -> bytes:
        answer = self._bus.transfer(sent)
        self._clock.now_ns += self._byte_ns * len(sent)
        return answer


class VirtualBoard:
    """Chips, bus and clock of a meter board in virtual time.

    sources: watts of each channel. circuits: one for all, or one each. straps: pins MMD1:MMD0 of each chip, 01 where not
    given. `chips` and `ports` are open for faults.
    """

    def __init__(
        self,
        sources: Sequence[PowerSource],
        circuits: Circuit | Sequence[Circuit] = REFERENCE_CIRCUIT,
        timing: ChipTiming = ASSUMED_TIMING,
        start_ns: int = 0,
        seed: int = 0,
        straps: Sequence[int] | None = None,
    ) -> None:
        self.clock = VirtualClock(start_ns)
        pins = straps or [0b01] * len(sources)
        each = [circuits] * len(sources) if isinstance(circuits, Circuit) else list(circuits)
        self.chips = [
            Atm90e26(source, self.clock.read_ns, circuit, timing, pins[channel], seed + channel)
            for channel, (source, circuit) in enumerate(zip(sources, each, strict=True))
        ]
        self.ports = [SpiPort(chip, self.clock.read_ns) for chip in self.chips]
        self.bus = SpiBus(self.ports, CS_PINS[: len(self.ports)])

    def spi(self, baudrate: int = 125_000, polarity: int = 1, phase: int = 1) -> VirtualSpi:
        self.bus.configure(SpiSettings(baudrate, polarity, phase))
        return VirtualSpi(self.bus, self.clock, baudrate)

    def pin(self, number: int) -> VirtualPin:
        return VirtualPin(self.bus, number)

    def cs_pins(self) -> list[VirtualPin]:
        return [self.pin(number) for number in CS_PINS[: len(self.ports)]]

    def faults(self, channel: int, flip_rate: float = 0.0, seed: int = 0) -> LineFaults:
        """Put a fault generator on one channel's lines and return it."""
        faults = self.ports[channel].faults = LineFaults(flip_rate, seed)
        return faults
