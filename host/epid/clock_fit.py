"""One knot of a clock map: the host's time at one peer instant, from the two-way exchanges around it.

A peer only echoes a ping. Four stamps come of it: `t1` sent and `t4` received in host time, `t2` received and `t3` sent in peer
time. Whatever the delays, the host's time H(p) of a peer instant p obeys  H(t2) >= t1  and  H(t3) <= t4.  So each direction has
its own envelope, and H is a line between them: the one that leaves the widest band (cf. convex hull methods: Moon, Skelly and
Towsley 1999, INFOCOM). Each side of the band is then moved by what the quickest message is expected to have been slower than
the link's floor, and the middle is the estimate.

Two half widths stand beside it. `worst_ns` supposes nothing. `bound_ns` holds for 99 of 100 instants, on two conditions:

  * near their floor the delays of one direction are as dense as the quickest ones show. The distances of the next quickest
    messages from the quickest then tell how far that one may be from the floor (spacings are exponential, so their ratio has
    an F distribution with 2 and 2k degrees of freedom);
  * the floor of the slower direction is at most twice that of the quicker one. No exchange can tell the two apart: an
    asymmetric floor looks like an offset (RFC 5905, section 8), so half of a third of the quickest round trip is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import pairwise
from math import hypot

MAX_DRIFT = 200e-6
"""Largest rate error believed of any clock: crystals are within 50 ppm, and a fit beyond this is a fault, not a clock."""

WANDER = 0.5e-6
"""Rate change within a window that a bound allows for: about a degree of temperature for an uncompensated crystal."""

ASYMMETRY = 1 / 6
"""Half of the difference between two floors, one at most twice the other, over their sum."""

_SPACINGS = 10
_MISSES = 0.007
"""Share of instants at which the statistical part may fail; less than 1 % because spacings overlap in time."""

Point = tuple[float, float]


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
    """The map near one peer instant: H(peer_ns) = host_ns +- bound_ns (99 %), with H' = rate +- rate_within.

    `worst_ns` bounds the error whatever the delays were. `gap`: nothing is known here but the size of a jump, which is
    the bound.
    """

    peer_ns: int
    host_ns: int
    rate: float
    bound_ns: float
    worst_ns: float
    rate_within: float = 0.0
    gap: bool = False


def fit_window(window: Sequence[Exchange], centre: Exchange) -> Knot:
    """Fit one knot at `centre.t2` to the exchanges around it, in order of time."""
    lows = [(float(e.t2 - centre.t2), float(e.t1 - centre.t1 - (e.t2 - centre.t2))) for e in window]
    highs = [(float(e.t3 - centre.t2), float(e.t4 - centre.t1 - (e.t3 - centre.t2))) for e in window]
    band = _Band(_hull(lows, 1), _hull(highs, -1))
    slope = band.widest()
    width_ns = band.width(slope)
    if width_ns < 0:
        return _from_one(min(window, key=lambda e: e.rtt_ns), centre.t2)
    slowest, fastest = band.zero(slope, -MAX_DRIFT), band.zero(slope, MAX_DRIFT)
    low_ns, high_ns = [y - slope * x for x, y in lows], [y - slope * x for x, y in highs]
    steps = min(_SPACINGS, (len(window) - 1) // 2)
    under_ns, over_ns = _spacing([-y for y in low_ns], steps), _spacing(high_ns, steps)
    offset_ns = (max(low_ns) + under_ns + min(high_ns) - over_ns) / 2
    worst_ns = _worst(lows, highs, offset_ns, slowest, fastest)
    bound_ns = worst_ns
    if steps:
        skewed_ns = ASYMMETRY * max(0.0, width_ns - under_ns - over_ns)
        noise_ns = _lean(lows) * _quantile(steps) * hypot(under_ns, over_ns) / 2
        bound_ns = min(worst_ns, hypot(skewed_ns, noise_ns) + 1)
    return Knot(centre.t2, centre.t1 + round(offset_ns), 1 + slope, bound_ns, worst_ns, (fastest - slowest) / 2)


def _worst(lows: Sequence[Point], highs: Sequence[Point], offset_ns: float, slowest: float, fastest: float) -> float:
    """Distance of the farther limit at the centre, each exchange's limit carried there with the rate that widens it most."""
    low_ns = max(y - abs(x) * WANDER - x * (fastest if x > 0 else slowest) for x, y in lows)
    high_ns = min(y + abs(x) * WANDER - x * (slowest if x > 0 else fastest) for x, y in highs)
    return max(high_ns - offset_ns, offset_ns - low_ns) + 1


def _lean(points: Sequence[Point]) -> float:
    """1 where the centre (x = 0) is in the middle of the window, 2 where it is at an end: a line is known less well there."""
    first, last = points[0][0], points[-1][0]
    return 1 + abs(first + last) / (last - first)


@dataclass(frozen=True, slots=True)
class _Band:
    """What two envelopes leave between them: `lows` an upper hull, `highs` a lower one."""

    lows: list[Point]
    highs: list[Point]

    def width(self, slope: float) -> float:
        """Distance of the two parallel lines of this slope that touch the envelopes; negative where they cross."""
        return min(y - slope * x for x, y in self.highs) - max(y - slope * x for x, y in self.lows)

    def widest(self) -> float:
        """Slope of the widest band: width is concave in it and changes course only at an edge's slope."""
        edges = [(b[1] - a[1]) / (b[0] - a[0]) for hull in (self.lows, self.highs) for a, b in pairwise(hull)]
        allowed = [min(MAX_DRIFT, max(-MAX_DRIFT, edge)) for edge in edges]
        return max(allowed, key=self.width, default=0.0)

    def zero(self, slope: float, end: float) -> float:
        """The slope between `slope` and `end` at which nothing is left of the band, or `end`."""
        if self.width(end) >= 0:
            return end
        for _ in range(12):
            middle = (slope + end) / 2
            slope, end = (middle, end) if self.width(middle) >= 0 else (slope, middle)
        return end


def _hull(points: Sequence[Point], sign: int) -> list[Point]:
    """Upper (`sign` 1) or lower (-1) convex hull of points in order of x (Andrew's monotone chain)."""
    hull: list[Point] = []
    for x, y in points:
        while len(hull) > 1 and sign * _turn(hull[-2], hull[-1], (x, y)) >= 0:
            hull.pop()
        hull.append((x, y))
    return hull


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _spacing(heights: Sequence[float], steps: int) -> float:
    """Expected distance of the lowest from the floor below it: the mean spacing of the next `steps`, each counted from it."""
    if not steps:
        return 0.0
    lowest, *others = nsmallest(steps + 1, heights)
    return sum(height - lowest for height in others) * 2 / (steps * (steps + 1))


def _quantile(steps: int) -> float:
    """How many expected distances the lowest is from the floor, beyond the one that was corrected: F(2, 2 steps)."""
    return steps * (_MISSES ** (-1 / steps) - 1) - 1


def _from_one(best: Exchange, peer_ns: int) -> Knot:
    """Where the envelopes contradict each other, no single rate fits: rest on the best exchange and let the bound say so."""
    host_ns = round((best.t1 + best.t4) / 2 + peer_ns - (best.t2 + best.t3) / 2)
    worst_ns = best.rtt_ns / 2 + abs(peer_ns - best.t2) * MAX_DRIFT
    return Knot(peer_ns, host_ns, 1.0, worst_ns, worst_ns, MAX_DRIFT)
