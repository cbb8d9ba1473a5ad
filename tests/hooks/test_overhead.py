"""The comparison of arms, with work whose cost is known."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from hookrun import comparison
from hookrun.comparison import Arm, compare


class Clock:
    """Time that passes only while an arm works, twice as fast on the clock as on the processor."""

    def __init__(self) -> None:
        self.ns = 0

    def monotonic_ns(self) -> int:
        return self.ns

    def process_time_ns(self) -> int:
        return self.ns // 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(comparison, "time", clock)
    return clock


def test_ratios_are_taken_within_a_round_so_that_drift_falls_out(clock: Clock) -> None:
    runs: list[str] = []

    def arm(name: str, cost_ns: int) -> Arm:
        def burst() -> None:
            runs.append(name)
            clock.ns += cost_ns * (1 + (len(runs) - 1) // 3)  # the machine gets slower from round to round

        return Arm(name, burst)

    steps: list[tuple[int, int]] = []
    arms = [arm("nothing", 1000), arm("slow", 1250), arm("same", 1000)]
    nothing, slow, same = compare(arms, 8, random.Random(3), lambda done, total: steps.append((done, total)))
    assert (nothing.wall.median, slow.wall.median, same.cpu.median) == (1.0, 0.8, 1.0)
    assert (slow.wall.low, slow.wall.high) == (0.8, 0.8)
    assert slow.cpu_ms == pytest.approx(slow.wall_ms / 2)
    assert Counter(runs) == {"nothing": 9, "slow": 9, "same": 9}
    rounds = [tuple(runs[at : at + 3]) for at in range(0, 27, 3)]
    assert all(sorted(order) == ["nothing", "same", "slow"] for order in rounds)
    assert len(set(rounds)) > 1
    assert steps[-1] == (8, 8)
    assert slow.to_map()["wall"]["median"] == 0.8


@pytest.mark.parametrize(("n", "rank"), [(2, 0), (5, 0), (6, 1), (8, 1), (9, 2), (20, 6), (100, 40)])
def test_the_interval_of_a_median_is_that_of_the_tables(n: int, rank: int) -> None:
    """Ranks as in tables of the sign test, two-sided 95 % (e.g. Conover, Practical Nonparametric Statistics, A3)."""
    values = [float(value) for value in range(1, n + 1)]
    assert comparison.spread(values).interval == ((rank, n + 1 - rank) if rank else None)


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    numbers = random.Random(5)
    held = 0
    for _ in range(1000):
        interval = comparison.spread([numbers.expovariate(1.0) for _ in range(15)]).interval
        assert interval is not None
        held += interval[0] <= math.log(2) <= interval[1]
    assert 940 <= held <= 995  # exactly 96.5 % for 15 values


def test_quartiles_of_uneven_rounds(clock: Clock) -> None:
    costs = iter([1, 1, 2, 4, 8, 16])

    def burst() -> None:
        clock.ns += 1000 * next(costs)

    def base() -> None:
        clock.ns += 16000

    _base, other = compare([Arm("nothing", base), Arm("other", burst)], 5, random.Random(0))
    assert (other.wall.low, other.wall.median, other.wall.high) == (2.0, 4.0, 8.0)
