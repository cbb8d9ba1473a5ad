"""Clocks and links whose truth is known: a crystal that wanders, delays of a USB line or a network, and what goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from epid.clocks import Exchange

Delay = Callable[[random.Random], int]
PERIOD_NS = 983_000_000


def usb_write(rng: random.Random) -> int:
    """Host to board over USB CDC: up to one millisecond frame of waiting, uniform, above a floor."""
    return 60_000 + rng.randrange(1_000_000)


def usb_read(rng: random.Random) -> int:
    """Board to host: a floor, an exponential tail, and now and then a busy host."""
    return 80_000 + int(rng.expovariate(1 / 60_000)) + (rng.randrange(20_000_000) if rng.random() < 0.01 else 0)


def network(rng: random.Random) -> int:
    """One way over a local network: a floor, a tail, rare long queues."""
    return 90_000 + int(rng.expovariate(1 / 50_000)) + (rng.randrange(30_000_000) if rng.random() < 0.005 else 0)


@dataclass(frozen=True)
class Crystal:
    """A peer's clock: constant drift, and a temperature that swings with two periods (rates in parts per million)."""

    drift_ppm: float
    swing_ppm: float
    period_s: float
    phase: float

    def peer_ns(self, host_ns: int) -> float:
        """What the clock shows at a host instant: the integral of its rate."""
        t_s = host_ns / 1e9
        omega = 2 * math.pi / self.period_s
        swing_s = self.swing_ppm * 1e-6 * (math.sin(omega * t_s + self.phase) - math.sin(self.phase)) / omega
        return host_ns * (1 + self.drift_ppm * 1e-6) + swing_s * 1e9


def draw_crystal(rng: random.Random) -> Crystal:
    """A crystal within 50 ppm whose rate swings by up to 1 ppm in ten minutes to two hours."""
    return Crystal(rng.uniform(-50, 50), rng.uniform(0.1, 1.0), rng.uniform(600, 7200), rng.uniform(0, 6.28))


@dataclass(frozen=True)
class Segment:
    """One boot or session of a peer: its exchanges as the host got them, and its clock, which showed `origin_ns` at host 0."""

    crystal: Crystal
    origin_ns: int
    begin_ns: int
    end_ns: int
    exchanges: list[Exchange]

    def peer_ns(self, host_ns: int) -> int:
        """The peer's clock at a host instant inside the segment."""
        return round(self.crystal.peer_ns(host_ns)) + self.origin_ns


def live(rng: random.Random, begin_ns: int, end_ns: int, there: Delay, back: Delay, loss: float = 0.02) -> Segment:
    """A peer from `begin_ns` to `end_ns`: pings at the odd period with jitter, some lost, a board loop that answers late."""
    crystal, origin_ns = draw_crystal(rng), rng.randrange(10**15)
    segment = Segment(crystal, origin_ns, begin_ns, end_ns, [])
    t1 = begin_ns + rng.randrange(PERIOD_NS)
    while t1 < end_ns:
        arrives = t1 + there(rng)
        leaves = arrives + 20_000 + rng.randrange(200_000)
        t4 = leaves + back(rng)
        if rng.random() >= loss and t4 < end_ns:
            # A board stamps whole microseconds.
            t2, t3 = (segment.peer_ns(at) // 1000 * 1000 for at in (arrives, leaves))
            segment.exchanges.append(Exchange(t1, t2, t3, t4))
        t1 += PERIOD_NS + rng.randrange(40_000_000)
    return segment
