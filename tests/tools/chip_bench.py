"""A bench for one chip: registers over real SPI frames, and a start-up that does what a driver must do."""

from collections.abc import Sequence

from epi_tools.chip import ASSUMED_TIMING, REFERENCE_CIRCUIT, ChipTiming, Circuit, PowerSource, block_checksum
from epi_tools.chip import registers as reg
from epi_tools.chip.spi_port import read_frame, write_frame
from epi_tools.sim.virtual import VirtualBoard

MC_1E6_METERING = (0, 4576, 0, 0, 0, 0, 100, 50, 100, 50, 0x7422)
REFERENCE_METERING = (0x0015, 0xD174, 0, 0, 0, 0, 100, 50, 100, 50, 0x7422)
REFERENCE_MEASURING = (0x6720, 0x7A13, 0x7530, 0, 0, 0, 0, 0, 0, 0)
JOULES_PER_TICK_MC_1E6 = 0.36


class Bench:
    """One chip in virtual time."""

    def __init__(
        self, source: PowerSource, circuit: Circuit = REFERENCE_CIRCUIT, timing: ChipTiming = ASSUMED_TIMING, seed: int = 1
    ) -> None:
        self.board = VirtualBoard([source], circuit, timing, start_ns=1_000_000_000, seed=seed)
        self.chip, self.port, self.clock = self.board.chips[0], self.board.ports[0], self.board.clock
        self.sleep_ms(20)

    def sleep_ms(self, ms: float) -> None:
        self.clock.now_ns += round(ms * 1_000_000)

    def read(self, address: int) -> int:
        answer = self.exchange(read_frame(address))
        return answer[1] << 8 | answer[2]

    def read_24(self, address: int) -> float:
        """A mean power or rms register with its low bits."""
        main, low = self.read(address), self.read(reg.LSB)
        return (main - 0x10000 if main & 0x8000 else main) + low / 65536

    def write(self, address: int, data: int) -> None:
        self.exchange(write_frame(address, data))

    def exchange(self, frame: bytes) -> bytes:
        self.port.select()
        answer = self.port.exchange(frame)
        self.port.deselect()
        return answer

    def clock_bits(self, word: int, count: int) -> int:
        """`count` clocks inside one chip select; returns MISO."""
        self.port.select()
        answer = self.port.clock_bits(word, count)
        self.port.deselect()
        return answer

    def start(self, metering: Sequence[int] = MC_1E6_METERING, measuring: Sequence[int] = REFERENCE_MEASURING) -> None:
        """Datasheet start-up: both blocks, their checksums, both 8765H."""
        self.write_block(reg.CAL_START, metering)
        self.write_block(reg.ADJ_START, measuring)
        self.write(reg.CAL_START, reg.CHECKED)
        self.write(reg.ADJ_START, reg.CHECKED)

    def write_block(self, start: int, words: Sequence[int], checksum: int | None = None) -> None:
        self.write(start, reg.SETTING)
        for offset, word in enumerate(words, 1):
            self.write(start + offset, word)
        self.write(start + len(words) + 1, block_checksum(words) if checksum is None else checksum)
