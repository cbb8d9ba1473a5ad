"""The comparison of arms, with work whose cost is known."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from hookrun.llama import overhead
from hookrun.llama.overhead import Arm, compare


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
    monkeypatch.setattr(overhead, "time", clock)
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


def test_quartiles_of_uneven_rounds(clock: Clock) -> None:
    costs = iter([1, 1, 2, 4, 8, 16])

    def burst() -> None:
        clock.ns += 1000 * next(costs)

    def base() -> None:
        clock.ns += 16000

    _base, other = compare([Arm("nothing", base), Arm("other", burst)], 5, random.Random(0))
    assert (other.wall.low, other.wall.median, other.wall.high) == (2.0, 4.0, 8.0)
