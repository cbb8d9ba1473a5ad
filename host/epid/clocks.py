"""One estimator for every clock that is not ours: boards and nodes, live and offline.

A peer only echoes a ping. Four stamps come of it: `t1` sent and `t4` received in host time, `t2` received and `t3` sent in peer
time. Whatever the delays, the host's time H(p) of a peer instant p obeys  H(t2) >= t1  and  H(t3) <= t4.  Each direction
therefore has its own envelope, and an asymmetric delay (a USB write waits up to 1 ms) can widen the answer but never bias it
beyond the bound that is stated (cf. convex hull methods: Moon, Skelly and Towsley 1999, INFOCOM).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 61
"""Exchanges that one knot of the map rests on: about a minute at one exchange per 0.98 s."""

KNOT_STEP = 4
"""Exchanges from one knot to the next."""

MAX_DRIFT = 200e-6
"""Largest rate error believed of any clock: crystals are within 50 ppm, and a fit beyond this is a fault, not a clock."""

WANDER = 0.5e-6
"""Rate change within a window that a bound allows for: about a degree of temperature for an uncompensated crystal."""


def host_now_ns() -> int:
    """The daemon's clock, `host_ns`: CLOCK_MONOTONIC_RAW, neither stepped nor slewed by NTP."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One two-way time exchange, all stamps in nanoseconds: `t1`, `t4` of the host's clock, `t2`, `t3` of the peer's."""

    t1: int
    t2: int
    t3: int
    t4: int

    @property
    def rtt_ns(self) -> int:
        """Time the two messages spent on the way, both directions together."""
        return (self.t4 - self.t1) - (self.t3 - self.t2)

    @property
    def plausible(self) -> bool:
        """Whether the stamps can be true at all: no message arrives before it was sent."""
        return self.t4 >= self.t1 and self.t3 >= self.t2 and self.rtt_ns >= 0


@dataclass(frozen=True, slots=True)
class Knot:
    """The map near one peer instant: H(peer_ns) = host_ns +- bound_ns, with H' = rate."""

    peer_ns: int
    host_ns: int
    rate: float
    bound_ns: float


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Peer time to host time with a bound, from knots in order of peer time; at least one knot."""

    knots: tuple[Knot, ...]

    def to_host_ns(self, peer_ns: int) -> tuple[int, float]:
        """Return (host_ns, bound_ns) of a peer instant; the bound grows with the distance from the nearest exchange."""
        at = bisect_right(self.knots, peer_ns, key=lambda knot: knot.peer_ns)
        if at == 0:
            return self._extrapolate(self.knots[0], peer_ns)
        if at == len(self.knots):
            return self._extrapolate(self.knots[-1], peer_ns)
        before, after = self.knots[at - 1], self.knots[at]
        share = (peer_ns - before.peer_ns) / (after.peer_ns - before.peer_ns)
        host_ns = before.host_ns + round(share * (after.host_ns - before.host_ns))
        return host_ns, max(before.bound_ns, after.bound_ns)

    @property
    def worst_bound_ns(self) -> float:
        """Largest bound of any knot."""
        return max(knot.bound_ns for knot in self.knots)

    @staticmethod
    def _extrapolate(knot: Knot, peer_ns: int) -> tuple[int, float]:
        away = peer_ns - knot.peer_ns
        return knot.host_ns + round(away * knot.rate), knot.bound_ns + abs(away) * WANDER


class ClockEstimator:
    """Collects the exchanges of one peer clock (one boot of a board, one session of a node) and fits its map.

    Live and offline differ only in which exchanges are there when `fit` is called.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.refused = 0

    def add(self, exchange: Exchange) -> bool:
        """Keep an exchange; return False (and count it) where its stamps cannot be true."""
        in_order = not self.exchanges or exchange.t2 > self.exchanges[-1].t2
        if not exchange.plausible or not in_order:
            self.refused += 1
            return False
        self.exchanges.append(exchange)
        return True

    def fit(self) -> ClockMap | None:
        """Return the map over all exchanges, or None where there is none to go by."""
        if not self.exchanges:
            return None
        n = len(self.exchanges)
        centres = sorted({*range(0, n, KNOT_STEP), n - 1})
        return ClockMap(tuple(self._knot(centre) for centre in centres))

    def fit_latest(self) -> Knot | None:
        """Return the knot of the newest exchanges alone: the live answer, at constant cost."""
        return self._knot(len(self.exchanges) - 1) if self.exchanges else None

    def _knot(self, centre: int) -> Knot:
        first = max(0, min(centre - WINDOW // 2, len(self.exchanges) - WINDOW))
        return fit_window(self.exchanges[first : first + WINDOW], self.exchanges[centre])


def fit_window(window: Sequence[Exchange], centre: Exchange) -> Knot:
    """Fit one knot at `centre` to the exchanges around it.

    Every exchange says H(t2) >= t1 and H(t3) <= t4, and bounds H at the centre through the range of rates that all of them
    together allow. The estimate is the middle of what is left, the bound is half of it.
    """
    peer_ns = centre.t2
    slowest, fastest = _rates(window)
    slowest, fastest = slowest - WANDER, fastest + WANDER
    lower = max(_carry(e.t1, peer_ns - e.t2, fastest, slowest) for e in window)
    upper = min(_carry(e.t4, peer_ns - e.t3, slowest, fastest) for e in window)
    rate = (slowest + fastest) / 2
    if lower > upper:
        return _from_one(min(window, key=lambda e: e.rtt_ns), peer_ns, rate)
    return Knot(peer_ns, round((lower + upper) / 2), rate, (upper - lower) / 2 + 1)


def _carry(host_ns: int, peer_step_ns: int, rate_back: float, rate_ahead: float) -> float:
    """A limit known at one peer instant, carried to another: with `rate_ahead` to later ones, `rate_back` to earlier ones."""
    return host_ns + peer_step_ns * (rate_ahead if peer_step_ns > 0 else rate_back)


def _rates(window: Sequence[Exchange]) -> tuple[float, float]:
    """Return the slowest and the fastest rate dH/dp that the first and the last third of the window allow between them.

    From H(t2) >= t1 early and H(t3) <= t4 late follows rate <= (t4 - t1) / (t3 - t2), and the other way round.
    """
    third = max(1, len(window) // 3)
    slowest, fastest = 1 - MAX_DRIFT, 1 + MAX_DRIFT
    for early in window[:third]:
        for late in window[-third:]:
            if late.t2 > early.t3:
                fastest = min(fastest, (late.t4 - early.t1) / (late.t3 - early.t2))
                slowest = max(slowest, (late.t1 - early.t4) / (late.t2 - early.t3))
    return (slowest, fastest) if slowest <= fastest else (1 - MAX_DRIFT, 1 + MAX_DRIFT)


def _from_one(best: Exchange, peer_ns: int, rate: float) -> Knot:
    """Where the envelopes contradict each other, no single rate fits: rest on the best exchange and let the bound say so."""
    middle = (best.t1 + best.t4) / 2 + (peer_ns - (best.t2 + best.t3) / 2) * rate
    return Knot(peer_ns, round(middle), rate, best.rtt_ns / 2 + abs(peer_ns - best.t2) * MAX_DRIFT)
