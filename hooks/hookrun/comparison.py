"""What stamps cost: the same tokens decoded with and without them, taking turns in random order, compared round by round.

On a shared or throttling machine absolute rates drift by more than the effect, within a tenth of a second. So the arms take
turns after each token, and the ratio of their sums over a round is what can be trusted, the median over rounds what is told.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BASELINE = "nothing"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to decode; `burst` is one turn of it. What has to be done `before` and `after` a turn is not measured."""

    name: str
    burst: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles, and an interval that holds the true median with at least 95 % confidence whatever the distribution.

    From fewer than six values no such interval exists.
    """

    median: float
    low: float
    high: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Tokens per second of an arm over those of the baseline in the same round: 1 costs nothing, below 1 is slower.

    `wall` by the clock, `cpu` by the processor time of all threads, which other programs on the machine disturb far less.
    """

    name: str
    wall: Spread
    cpu: Spread
    wall_ms: float
    cpu_ms: float

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Burst:
    wall_ns: int
    cpu_ns: int

    def __add__(self, other: _Burst) -> _Burst:
        return _Burst(self.wall_ns + other.wall_ns, self.cpu_ns + other.cpu_ns)


def compare(
    arms: Sequence[Arm],
    rounds: int,
    order: random.Random,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    turns: int = 1,
) -> list[Ratio]:
    """Give every arm its `turns` in each round and return each arm's ratio to the first, the baseline.

    A round before is not counted.
    """
    bursts: dict[str, list[_Burst]] = {arm.name: [] for arm in arms}
    for number in range(rounds + 1):
        measured = _round(arms, turns, order)
        for name, burst in measured.items() if number else ():
            bursts[name].append(burst)
        progress(number, rounds)
    baseline = bursts[arms[0].name]
    return [_ratio(arm.name, baseline, bursts[arm.name]) for arm in arms]


def spread_text(spread: Mapping[str, Any]) -> str:
    """Return a spread, as plain values, for people: the median, and its interval where there are enough rounds for one."""
    interval = spread["interval"]
    return f"{spread['median']:.4f} " + (f"[{interval[0]:.4f} {interval[1]:.4f}]" if interval else "[too few rounds]")


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least two values.

    The interval is that of the sign test: the median lies between the k-th smallest and the k-th largest value, unless fewer than
    k of n values fell on one side of it, and how likely that is only the binomial distribution knows.
    """
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    ordered = sorted(values)
    k = _sign_test_rank(len(ordered))
    return Spread(median, low, high, (ordered[k - 1], ordered[-k]) if k else None)


def _sign_test_rank(n: int, confidence: float = 0.95) -> int:
    """Return the largest k for which the k-th smallest and k-th largest of `n` values hold the median so surely; 0 for none."""
    k, outside = 0, 0.0
    while k < n // 2:
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - confidence:
            break
        k += 1
    return k


def _round(arms: Sequence[Arm], turns: int, order: random.Random) -> dict[str, _Burst]:
    """Return what each arm took for all its turns."""
    sums = {arm.name: _Burst(0, 0) for arm in arms}
    for _ in range(turns):
        for arm in order.sample(arms, len(arms)):
            arm.before()
            burst = _measured(arm.burst)
            arm.after()
            sums[arm.name] += burst
    return sums


def _measured(action: Callable[[], object]) -> _Burst:
    wall_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    action()
    return _Burst(time.monotonic_ns() - wall_ns, time.process_time_ns() - cpu_ns)


def _ratio(name: str, baseline: Sequence[_Burst], bursts: Sequence[_Burst]) -> Ratio:
    pairs = list(zip(baseline, bursts, strict=True))
    return Ratio(
        name,
        wall=spread([base.wall_ns / burst.wall_ns for base, burst in pairs]),
        cpu=spread([base.cpu_ns / burst.cpu_ns for base, burst in pairs]),
        wall_ms=statistics.median(burst.wall_ns for burst in bursts) / 1e6,
        cpu_ms=statistics.median(burst.cpu_ns for burst in bursts) / 1e6,
    )
