"""One estimator for every clock that is not ours: boards and nodes, live and offline.

Live and offline differ only in which exchanges there are: `clock_fit` says what becomes of them.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from .clock_fit import MAX_DRIFT, WANDER, Exchange, Knot, fit_window

__all__ = ["WINDOW", "ClockEstimator", "ClockMap", "Exchange", "Gap", "Jump", "Knot", "host_now_ns"]

WINDOW = 121
"""Exchanges that one knot of the map rests on: about two minutes at one exchange per 0.98 s."""

KNOT_STEP = 8
"""Exchanges from one knot to the next."""

_RATE_REACH = 60
"""Exchanges back from the newest one between which the rate is taken that the next one is held against."""

_RATE_SLACK = 2e-6


def host_now_ns() -> int:
    """The daemon's clock, `host_ns`: CLOCK_MONOTONIC_RAW, neither stepped nor slewed by NTP."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@dataclass(frozen=True, slots=True)
class Gap:
    """A jump of one clock against the other, somewhere between two peer instants: `jump_ns` is how far the peer got ahead."""

    begin_ns: int
    end_ns: int
    jump_ns: int


@dataclass(frozen=True, slots=True)
class Jump:
    """How far a peer's clock got ahead of ours at once, and the largest error of that whatever the delays were."""

    jump_ns: int
    within_ns: float

    def __add__(self, other: Jump) -> Jump:
        return Jump(self.jump_ns + other.jump_ns, self.within_ns + other.within_ns)

    def __str__(self) -> str:
        return f"{self.jump_ns / 1e9:+.3f} s (± {self.within_ns / 1e6:.1f} ms)"


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Peer time to host time with a bound, from knots in order of peer time; at least one knot.

    `gaps`: where a clock jumped (a node or the host slept, a virtual machine was moved). Inside, the bound is the jump itself.
    """

    knots: tuple[Knot, ...]
    gaps: tuple[Gap, ...] = ()

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
        """Largest bound of any knot outside the gaps."""
        return max(knot.bound_ns for knot in self.knots if not knot.gap)

    @staticmethod
    def _extrapolate(knot: Knot, peer_ns: int) -> tuple[int, float]:
        away = peer_ns - knot.peer_ns
        return knot.host_ns + round(away * knot.rate), knot.bound_ns + abs(away) * (WANDER + knot.rate_within)


class ClockEstimator:
    """Collects the exchanges of one peer clock (one boot of a board, one session of a node) and fits its map.

    An exchange that contradicts the one before waits: where the next one stands by it, the clock has jumped and a new stretch
    begins; where not, it was wrong and is refused.
    """

    def __init__(self) -> None:
        self.stretches: list[list[Exchange]] = [[]]
        self._refused = 0
        self._waiting: Exchange | None = None

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges since the last jump."""
        return self.stretches[-1]

    @property
    def refused(self) -> int:
        """Exchanges whose stamps cannot be true, or contradict all others."""
        return self._refused + (self._waiting is not None)

    def add(self, exchange: Exchange) -> bool:
        """Take an exchange; return False where it is not used, or not yet."""
        newest = self.exchanges[-1] if self.exchanges else None
        if not exchange.plausible or (newest is not None and exchange.t1 <= newest.t1):
            self._refused += 1
            return False
        if newest is None or _consistent(newest, exchange, *self._rates()):
            self._drop_waiting()
            self.exchanges.append(exchange)
            return True
        waiting = self._waiting
        if waiting is not None and _consistent(waiting, exchange, -MAX_DRIFT, MAX_DRIFT):
            self._waiting = None
            self.stretches.append([waiting, exchange])
            return True
        self._drop_waiting()
        self._waiting = exchange
        return False

    def forget(self, keep: int) -> None:
        """Drop all but the newest `keep` exchanges since the last jump."""
        self.stretches = [self.exchanges[-keep:]]

    def fit(self) -> ClockMap | None:
        """Return the map over all exchanges, or None where there is none to go by."""
        if not self.exchanges:
            return None
        knots, gaps = _knots(self.stretches[0]), []
        for before, after in pairwise(self.stretches):
            if after[0].t2 > knots[-1].peer_ns + 2:  # what follows a jump back stands for the same peer times again
                later = _knots(after)
                jump = _jump(knots[-1], later[0])
                gaps.append(Gap(before[-1].t2, after[0].t2, jump.jump_ns))
                knots += [*_across(knots[-1], later[0], jump), *later]
        return ClockMap(tuple(knots), tuple(gaps))

    def fit_latest(self) -> Knot | None:
        """Return the knot of the newest exchanges alone: the live answer, at constant cost."""
        return _knot(self.exchanges, len(self.exchanges) - 1) if self.exchanges else None

    def newest_jump(self) -> Jump | None:
        """Return the jump between the two newest stretches, or None where there is only one."""
        if len(self.stretches) < 2:
            return None
        before, after = self.stretches[-2:]
        return _jump(_knot(before, len(before) - 1), _knot(after, 0))

    def _rates(self) -> tuple[float, float]:
        """Rates, less 1, that the newest exchanges allow."""
        first, last = self.exchanges[max(0, len(self.exchanges) - _RATE_REACH)], self.exchanges[-1]
        if last.t2 <= first.t3:
            return -MAX_DRIFT, MAX_DRIFT
        slowest = (last.t1 - first.t4) / (last.t2 - first.t3) - 1 - _RATE_SLACK
        fastest = (last.t4 - first.t1) / (last.t3 - first.t2) - 1 + _RATE_SLACK
        return max(-MAX_DRIFT, slowest), min(MAX_DRIFT, fastest)

    def _drop_waiting(self) -> None:
        self._refused += self._waiting is not None
        self._waiting = None


def _consistent(earlier: Exchange, later: Exchange, slowest: float, fastest: float) -> bool:
    """Whether one clock can have made both: H(t2) >= t1 and H(t3) <= t4 of each, with a rate in between."""
    longest, shortest = later.t3 - earlier.t2, later.t2 - earlier.t3
    if shortest < 0:
        return False
    return longest + longest * slowest <= later.t4 - earlier.t1 and shortest + shortest * fastest >= later.t1 - earlier.t4


def _knots(stretch: list[Exchange]) -> list[Knot]:
    n = len(stretch)
    return [_knot(stretch, centre) for centre in sorted({*range(0, n, KNOT_STEP), n - 1})]


def _knot(stretch: list[Exchange], centre: int) -> Knot:
    first = max(0, min(centre - WINDOW // 2, len(stretch) - WINDOW))
    return fit_window(stretch[first : first + WINDOW], stretch[centre])


def _jump(before: Knot, after: Knot) -> Jump:
    """What the peer's clock did between two knots beyond what its rate explains."""
    passed_ns = after.host_ns - before.host_ns
    jump_ns = (after.peer_ns - before.peer_ns) - passed_ns / before.rate
    return Jump(round(jump_ns), before.worst_ns + after.worst_ns + passed_ns * (WANDER + before.rate_within))


def _across(before: Knot, after: Knot, jump: Jump) -> list[Knot]:
    """Two knots that carry the jump between two stretches as the bound of everything between them."""
    bound_ns = abs(jump.jump_ns) + before.bound_ns + after.bound_ns
    ends = ((before, 1), (after, -1))
    return [Knot(k.peer_ns + step, k.host_ns + step, k.rate, bound_ns, bound_ns, gap=True) for k, step in ends]
