"""Clocks and links whose truth is known: crystals that wander, delays of a USB line or a network, and everything that goes wrong.

Times called `true` are nanoseconds of a clock that nobody in the world has. The host's clock stands still while the host sleeps;
the peer's has its own rate, jumps now and then, and stands still while the peer sleeps.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from epid.clocks import Exchange
from epid.daemon.pinger import Pinger

Delay = Callable[[random.Random], int]
S = 1_000_000_000
TICK_NS = 20_000_000
"""The daemon looks for due pings this often."""


@dataclass(frozen=True)
class Link:
    """Delays of one way in each direction, drawn for each message."""

    there: Delay
    back: Delay


def usb(rng: random.Random) -> Link:
    """USB CDC: writes wait up to one millisecond frame, uniform; reads have a tail, and now and then a busy host."""
    floor_there, floor_back = (rng.randrange(60_000, 120_000) for _ in range(2))

    def back(draw: random.Random) -> int:
        return floor_back + int(draw.expovariate(1 / 60_000)) + (draw.randrange(20_000_000) if draw.random() < 0.01 else 0)

    return Link(lambda draw: floor_there + draw.randrange(1_000_000), back)


def network(rng: random.Random) -> Link:
    """A local network: a floor in each direction, a tail, rare long queues."""
    floors = [rng.randrange(60_000, 120_000) for _ in range(2)]

    def way(floor: int) -> Delay:
        return lambda draw: (
            floor + int(draw.expovariate(1 / 50_000)) + (draw.randrange(30_000_000) if draw.random() < 0.005 else 0)
        )

    return Link(way(floors[0]), way(floors[1]))


@dataclass(frozen=True)
class Crystal:
    """A clock's rate: constant drift, and a temperature that swings (both in parts per million)."""

    drift_ppm: float
    swing_ppm: float
    period_s: float
    phase: float

    def shown_ns(self, true_ns: int) -> float:
        """What the clock shows: the integral of its rate."""
        omega = 2 * math.pi / self.period_s
        swing_s = self.swing_ppm * 1e-6 * (math.sin(omega * true_ns / S + self.phase) - math.sin(self.phase)) / omega
        return true_ns * (1 + self.drift_ppm * 1e-6) + swing_s * S


def draw_crystal(rng: random.Random) -> Crystal:
    """A crystal within 50 ppm whose rate swings by up to 1 ppm in ten minutes to two hours."""
    return Crystal(rng.uniform(-50, 50), rng.uniform(0.1, 1.0), rng.uniform(600, 7200), rng.uniform(0, 6.28))


@dataclass
class Shifts:
    """Steps of one clock: at which true time it is changed by how much."""

    at_ns: list[int] = field(default_factory=list)
    total_ns: list[int] = field(default_factory=lambda: [0])

    def add(self, at_ns: int, by_ns: int) -> None:
        """Shift from `at_ns` on; call in order of time."""
        self.at_ns.append(at_ns)
        self.total_ns.append(self.total_ns[-1] + by_ns)

    def of(self, true_ns: int) -> int:
        """Shift in force."""
        return self.total_ns[bisect_right(self.at_ns, true_ns)]


@dataclass
class Boot:
    """One boot of a peer: its clock, the host's, and who slept when (true begin, true end)."""

    crystal: Crystal
    origin_ns: int
    begin_ns: int
    end_ns: int
    jumps: Shifts = field(default_factory=Shifts)
    host_shift: Shifts = field(default_factory=Shifts)
    asleep: list[tuple[int, int]] = field(default_factory=list)
    host_wakes_ns: list[int] = field(default_factory=list)

    def peer_ns(self, true_ns: int) -> int:
        """What the peer's clock shows."""
        return round(self.crystal.shown_ns(true_ns)) + self.origin_ns + self.jumps.of(true_ns)

    def host_ns(self, true_ns: int) -> int:
        """What the host's clock shows."""
        return true_ns + self.host_shift.of(true_ns)

    def awake(self, true_ns: int) -> int:
        """The same instant, or the end of the sleep it falls into."""
        return next((end for begin, end in self.asleep if begin <= true_ns < end), true_ns)


def draw_boot(rng: random.Random, begin_ns: int, end_ns: int, quiet: bool) -> Boot:
    """A boot; unless it is quiet the host sleeps once in it, the peer sleeps once, and the peer's clock jumps ahead once."""
    boot = Boot(draw_crystal(rng), rng.randrange(10**15), begin_ns, end_ns)
    if quiet:
        return boot
    at_ns = sorted(rng.randrange(begin_ns + 600 * S, end_ns - 600 * S) for _ in range(3))
    for what, start_ns in zip(rng.sample(["host", "peer", "jump"], 3), at_ns, strict=True):
        sleep_ns = round(math.exp(rng.uniform(math.log(0.3), math.log(600))) * S)
        if what == "jump":
            boot.jumps.add(start_ns, round(math.exp(rng.uniform(math.log(0.005), math.log(86_400))) * S))
            continue
        (boot.host_shift if what == "host" else boot.jumps).add(start_ns + sleep_ns, -sleep_ns)
        boot.asleep.append((start_ns, start_ns + sleep_ns))
        if what == "host":
            boot.host_wakes_ns.append(start_ns + sleep_ns)
    return boot


@dataclass(frozen=True)
class Faults:
    """Shares of answers that are lost, come twice, or come so late that nobody waits any more."""

    lost: float = 0.02
    twice: float = 0.01
    late: float = 0.005


def exchanges(rng: random.Random, boot: Boot, link: Link, faults: Faults = Faults()) -> tuple[list[Exchange], Pinger]:
    """Let the daemon's own pinger talk to the peer for one boot; return what it would have recorded."""
    pinger, recorded = Pinger(8, rng.randbytes), []
    answers: list[tuple[int, bytes, int, int]] = []
    wakes = list(boot.host_wakes_ns)
    now_ns = boot.begin_ns
    while now_ns < boot.end_ns:
        now_ns = boot.awake(now_ns)
        if wakes and now_ns >= wakes[0]:
            wakes.pop(0)
            pinger.hurry()
        while answers and answers[0][0] <= now_ns:
            at_ns, nonce, t2_ns, t3_ns = heapq.heappop(answers)
            exchange = pinger.answer(nonce, t2_ns, t3_ns, boot.host_ns(at_ns))
            if exchange is not None:
                recorded.append(exchange)
        nonce = pinger.due(boot.host_ns(now_ns))
        if nonce is not None and rng.random() >= faults.lost:
            for answer in _answers(rng, boot, link, faults, now_ns, nonce):
                heapq.heappush(answers, answer)
        now_ns += TICK_NS + rng.randrange(2_000_000) if not answers else max(1, answers[0][0] - now_ns)
    return recorded, pinger


def _answers(
    rng: random.Random, boot: Boot, link: Link, faults: Faults, now_ns: int, nonce: bytes
) -> Sequence[tuple[int, bytes, int, int]]:
    arrives_ns = boot.awake(now_ns + link.there(rng))
    leaves_ns = arrives_ns + 20_000 + rng.randrange(200_000)
    # A board stamps whole microseconds.
    t2_ns, t3_ns = (boot.peer_ns(at) // 1000 * 1000 for at in (arrives_ns, leaves_ns))
    comes_ns = boot.awake(leaves_ns + link.back(rng))
    if rng.random() < faults.late:
        comes_ns += rng.randrange(2 * S, 10 * S)
    again_ns = comes_ns + rng.randrange(S // 10, 5 * S)
    times_ns = [comes_ns, again_ns] if rng.random() < faults.twice else [comes_ns]
    return [(at_ns, nonce, t2_ns, t3_ns) for at_ns in times_ns]
