"""The wires between board and chips: one SPI bus, and a chip select pin per chip."""

from collections.abc import Sequence
from dataclasses import dataclass

from epi_tools.chip import SpiPort

CS_PINS = (17, 20, 21, 22)
MAX_CLOCK_HZ = 136_000  # 50 % duty; datasheet table 11: SCLK high at least 3.67 us


@dataclass(frozen=True)
class SpiSettings:
    """How the board clocks the bus."""

    baudrate_hz: int
    polarity: int
    phase: int

    @property
    def understood(self) -> bool:
        """Whether the chips can follow: SPI mode 3, and slow enough for their hold times."""
        return self.polarity == 1 and self.phase == 1 and 200 <= self.baudrate_hz <= MAX_CLOCK_HZ


class SpiBus:
    """Delivers edges and bytes to the chips; MISO is the wired AND of the chips that drive it.

    A bus clocked in another mode, or faster than the datasheet allows, reaches no chip: MISO stays high. The real chip
    fails less predictably there, so nothing may depend on it.
    """

    def __init__(self, ports: Sequence[SpiPort], cs_pins: Sequence[int] = CS_PINS) -> None:
        self._ports = dict(zip(cs_pins, ports, strict=True))
        self._selected: list[SpiPort] = []
        self._reachable = False
        self.settings: SpiSettings | None = None
        self.transfers = 0

    def configure(self, settings: SpiSettings) -> None:
        self.settings = settings
        self._reachable = settings.understood

    def set_pin(self, pin: int, level: int) -> None:
        """A pin changed; pins other than chip selects go nowhere."""
        if pin not in self._ports:
            return
        port, selected = self._ports[pin], self._selected
        if level:
            if port in selected:
                selected.remove(port)
                port.deselect()
        elif port not in selected:
            selected.append(port)
            port.select()

    def transfer(self, sent: bytes | bytearray | memoryview) -> bytes:
        """Clock bytes on the bus; returns MISO."""
        self.transfers += 1
        selected = self._selected
        if not self._reachable or not selected:
            return b"\xff" * len(sent)
        if len(selected) == 1:
            return selected[0].exchange(sent)
        answers = [port.exchange(sent) for port in selected]
        return bytes(_all_of(column) for column in zip(*answers, strict=True))

    def release(self) -> None:
        """The board has reset: its pins float and the pull-ups deselect every chip."""
        for port in self._selected:
            port.deselect()
        self._selected.clear()


def _all_of(column: tuple[int, ...]) -> int:
    wired = 0xFF
    for byte in column:
        wired &= byte
    return wired
