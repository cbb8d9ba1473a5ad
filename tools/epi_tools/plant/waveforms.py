"""Computed sources: constant, steps, sine and recorded watts. Times are nanoseconds since `start_ns`."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from epi_tools.plant.source import Piece

SINE_PIECE_NS = 10_000_000


class Constant:
    """The same watts for ever."""

    def __init__(self, watts: float) -> None:
        self.watts = watts

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        return ((end_ns, self.watts),) if end_ns > start_ns else ()

    def observe(self) -> None:
        """Nothing to look at."""


class Recorded:
    """Watts that change at given times and hold in between; 0 W before the first, the last value for ever."""

    def __init__(self, times_ns: Sequence[int], watts: Sequence[float]) -> None:
        self._times_ns = list(times_ns)
        self._watts = [0.0, *watts]

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        found: list[Piece] = []
        index = bisect_right(self._times_ns, start_ns)
        while start_ns < end_ns:
            change_ns = self._times_ns[index] if index < len(self._times_ns) else end_ns
            start_ns = min(change_ns, end_ns)
            found.append((start_ns, self._watts[index]))
            index += 1
        return found

    def observe(self) -> None:
        """Nothing to look at."""


class Steps:
    """Levels (watts, seconds) that follow one another and start again."""

    def __init__(self, levels: Sequence[tuple[float, float]], start_ns: int) -> None:
        self._watts = [watts for watts, _ in levels]
        self._ends_ns: list[int] = []
        total_s = 0.0
        for _, seconds in levels:
            total_s += seconds
            self._ends_ns.append(round(total_s * 1e9))
        self._start_ns = start_ns

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        found: list[Piece] = []
        period_ns = self._ends_ns[-1]
        while start_ns < end_ns:
            periods, phase_ns = divmod(start_ns - self._start_ns, period_ns)
            index = bisect_right(self._ends_ns, phase_ns)
            start_ns = min(self._start_ns + periods * period_ns + self._ends_ns[index], end_ns)
            found.append((start_ns, self._watts[index]))
        return found

    def observe(self) -> None:
        """Nothing to look at."""


class Sine:
    """mean_w + swing_w * sin(2 pi t / period_s), as the exact mean of each piece of at most 10 ms."""

    def __init__(self, mean_w: float, swing_w: float, period_s: float, start_ns: int) -> None:
        self._mean_w, self._start_ns = mean_w, start_ns
        self._omega_per_ns = 2 * math.pi / (period_s * 1e9)
        self._integral_w_ns = swing_w / self._omega_per_ns

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        found: list[Piece] = []
        while start_ns < end_ns:
            stop_ns = min(start_ns + SINE_PIECE_NS, end_ns)
            swing_w_ns = self._integral_w_ns * (self._cosine(start_ns) - self._cosine(stop_ns))
            found.append((stop_ns, self._mean_w + swing_w_ns / (stop_ns - start_ns)))
            start_ns = stop_ns
        return found

    def observe(self) -> None:
        """Nothing to look at."""

    def _cosine(self, now_ns: int) -> float:
        return math.cos(self._omega_per_ns * (now_ns - self._start_ns))
