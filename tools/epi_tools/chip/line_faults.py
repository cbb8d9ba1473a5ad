"""Faults on the SPI lines of one chip: random bit flips, scripted ones for one access at a time, and no line at all."""

from random import Random


class CutLine:
    """A line on which nothing arrives: the chip hears no clock, and the host reads ones."""

    def cuts(self, _word: int, _clock: int) -> bool:
        return True

    def flips_mosi(self, _clock: int) -> int:
        return 0

    def flips_miso(self, _clock: int) -> int:
        return 0


class LineFaults:
    """Says for each clock whether a line lies.

    flip_rate: probability that one bit of either line flips. The scripted faults wait for the next access that reaches
    the clock they name, and then happen once.
    """

    def __init__(self, flip_rate: float = 0.0, seed: int = 0) -> None:
        if not 0 <= flip_rate <= 1:
            raise ValueError(f"flip rate is a probability, not {flip_rate:g}")
        self._flip_rate = flip_rate
        self._rng = Random(seed)
        self._mosi: set[int] = set()
        self._miso: set[int] = set()
        self._cuts: dict[int, int] = {}
        self.happened = 0

    def flip_mosi_once(self, *clocks: int) -> None:
        """Flip what the chip hears at these clocks (0 is the read bit, 8..23 the data)."""
        self._mosi.update(clocks)

    def flip_miso_once(self, *clocks: int) -> None:
        """Flip what the host hears at these clocks (8..23 are the data)."""
        self._miso.update(clocks)

    def cut_once(self, address: int, clocks: int) -> None:
        """Lose every clock from number `clocks` (8..23) on in the next read of `address`."""
        if not 8 <= clocks < 24:
            raise ValueError(f"a read can be cut after 8 to 23 clocks, not {clocks}")
        self._cuts[address] = clocks

    def cuts(self, word: int, clock: int) -> bool:
        """Whether the chip stops hearing clocks now; `word` is what it has heard in `clock` clocks."""
        if clock < 8 or not self._cuts:
            return False
        head = word >> (clock - 8) & 0xFF
        if not head & 0x80 or self._cuts.get(head & 0x7F) != clock:
            return False
        del self._cuts[head & 0x7F]
        self.happened += 1
        return True

    def flips_mosi(self, clock: int) -> int:
        return self._flips(self._mosi, clock)

    def flips_miso(self, clock: int) -> int:
        return self._flips(self._miso, clock)

    def _flips(self, scripted: set[int], clock: int) -> int:
        if clock in scripted:
            scripted.discard(clock)
        elif not self._flip_rate or self._rng.random() >= self._flip_rate:
            return 0
        self.happened += 1
        return 1
