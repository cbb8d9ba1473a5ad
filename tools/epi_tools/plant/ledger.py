"""The true energy of each channel: the plant's own integral, which no chip and no firmware has touched."""

from collections.abc import Sequence

from epi_tools.plant.source import Source

SERIES_ROWS = 12_000


class Ledger:
    """Energy per channel since `start_ns`, and its course in time.

    The series is kept short by dropping every second row when it grows past 12 000 (10 minutes at 20 Hz); energy is
    cumulative, so the rows that stay are as exact as before.
    """

    def __init__(self, sources: Sequence[Source], start_ns: int) -> None:
        self._sources = sources
        self._until_ns = [start_ns] * len(sources)
        self._spacing_ns = 0
        self.energy_j = [0.0] * len(sources)
        self.host_ns = [start_ns]
        self.rows: list[tuple[float, ...]] = [tuple(self.energy_j)]

    def close_books(self, now_ns: int) -> None:
        """Bring every channel's energy up to `now_ns` and write a row, unless rows are spaced wider by now.

        All channels are first observed, so that every figure of the row belongs to the same moment.
        """
        for channel, source in enumerate(self._sources):
            source.observe()
            self._integrate(channel, source, now_ns)
        if now_ns - self.host_ns[-1] >= self._spacing_ns:
            self._append(now_ns)

    @property
    def until_ns(self) -> int:
        """The moment up to which every channel's energy is known."""
        return min(self._until_ns)

    def _integrate(self, channel: int, source: Source, now_ns: int) -> None:
        start_ns = self._until_ns[channel]
        for end_ns, watts in source.pieces(start_ns, now_ns):
            self.energy_j[channel] += watts * (end_ns - start_ns) * 1e-9
            start_ns = end_ns
        self._until_ns[channel] = start_ns

    def _append(self, now_ns: int) -> None:
        self.host_ns.append(now_ns)
        self.rows.append(tuple(round(energy_j, 6) for energy_j in self.energy_j))
        if len(self.rows) > SERIES_ROWS:
            del self.host_ns[1::2], self.rows[1::2]
            self._spacing_ns = (self.host_ns[-1] - self.host_ns[0]) // len(self.rows)
