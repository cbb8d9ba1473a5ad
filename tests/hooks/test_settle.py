"""Waiting for a stable temperature, on a clock and a thermometer of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookrun.node.settle import Settled, settle, slope_c_per_min


class Bench:
    """A clock that moves by sleeping, and a temperature that is a function of it."""

    def __init__(self, temperature: Callable[[float], float | None]) -> None:
        self.now_s = 0.0
        self._temperature = temperature
        self.lines: list[str] = []

    def settle(self, least_s: float, most_s: float = 900.0) -> Settled:
        return settle(
            lambda: self._temperature(self.now_s),
            least_s=least_s,
            most_s=most_s,
            progress=self.lines.append,
            clock=lambda: self.now_s,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_stable_node_waits_the_least_time_and_no_longer() -> None:
    settled = Bench(lambda _s: 45.0).settle(60)
    assert settled == Settled(60.0, 45.0, 0.0, True)


def test_a_warming_node_waits_until_the_slope_is_small() -> None:
    bench = Bench(lambda s: 60 - 20 * 2.718 ** (-s / 50))
    settled = bench.settle(60)
    assert settled.stable
    assert settled.slope_c_per_min is not None
    assert abs(settled.slope_c_per_min) < 0.5
    slope_now = 60 * 20 / 50 * 2.718 ** (-(settled.waited_s - 15) / 50)  # in the middle of the window
    assert slope_now == pytest.approx(0.5, abs=0.05)
    assert "°C/min (stable below 0.5)" in bench.lines[-1]


def test_a_node_that_never_settles_is_given_up_and_said_to_be_unstable() -> None:
    settled = Bench(lambda s: 40 + s / 10).settle(60, most_s=200)
    assert (settled.stable, settled.waited_s) == (False, 200.0)
    assert settled.slope_c_per_min == pytest.approx(6.0)


def test_without_a_sensor_only_the_time_is_waited() -> None:
    bench = Bench(lambda _s: None)
    assert bench.settle(60) == Settled(60.0, None, None, None)
    assert "tells no temperature" in bench.lines[0]


def test_less_than_the_window_can_be_asked_for() -> None:
    assert Bench(lambda _s: 45.0).settle(5) == Settled(5.0, 45.0, 0.0, True)


@given(st.floats(-10, 10), st.lists(st.integers(0, 100), min_size=2, max_size=20, unique=True))
def test_the_slope_of_a_line_is_its_slope(slope: float, instants: list[int]) -> None:
    looks = deque((float(at), 40 + slope * at / 60) for at in instants)
    assert slope_c_per_min(looks) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("looks", [[], [(1.0, 40.0)], [(1.0, 40.0), (1.0, 41.0)]])
def test_one_instant_has_no_slope(looks: list[tuple[float, float]]) -> None:
    assert slope_c_per_min(deque(looks)) is None
