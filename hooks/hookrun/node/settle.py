"""Waiting until the node is as warm as it will be: a processor that still warms up draws more from minute to minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

LEAST_S = 60.0
MOST_S = 900.0
WINDOW_S = 30.0
PERIOD_S = 1.0
SLOPE_C_PER_MIN = 0.5
"""Below this slope over the window, either way, a temperature counts as stable."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How the waiting ended; temperature and slope are None where the node has no sensor, `stable` is then None too."""

    waited_s: float
    temperature_c: float | None
    slope_c_per_min: float | None
    stable: bool | None

    def to_map(self) -> dict[str, Any]:
        """Return it for the settings of a run."""
        return asdict(self)


def settle(
    temperature_c: Callable[[], float | None],
    *,
    least_s: float = LEAST_S,
    most_s: float = MOST_S,
    progress: Callable[[str], None] = lambda _line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Settled:
    """Wait for `least_s`, and on until the temperature has stopped to move or `most_s` are over."""
    begin_s = clock()
    looks: deque[tuple[float, float]] = deque()
    while True:
        waited_s, temperature = clock() - begin_s, temperature_c()
        if temperature is not None:
            looks.append((waited_s, temperature))
        while looks and looks[0][0] < waited_s - WINDOW_S:
            looks.popleft()
        state = Settled(waited_s, temperature, *_stability(looks, min(WINDOW_S, least_s)))
        if waited_s >= least_s and (state.stable is not False or waited_s >= most_s):
            return state
        progress(_line(state, least_s))
        sleep(PERIOD_S)


def slope_c_per_min(looks: deque[tuple[float, float]]) -> float | None:
    """Return the least-squares slope of (seconds, degrees); None from fewer than two instants."""
    mean_s = sum(at_s for at_s, _celsius in looks) / max(len(looks), 1)
    spread = sum((at_s - mean_s) ** 2 for at_s, _celsius in looks)
    if not spread:
        return None
    return 60 * sum((at_s - mean_s) * celsius for at_s, celsius in looks) / spread


def _stability(looks: deque[tuple[float, float]], window_s: float) -> tuple[float | None, bool | None]:
    slope = slope_c_per_min(looks)
    if not looks:
        return None, None
    covered_s = looks[-1][0] - looks[0][0]
    return slope, slope is not None and covered_s >= window_s - PERIOD_S and abs(slope) < SLOPE_C_PER_MIN


def _line(state: Settled, least_s: float) -> str:
    if state.temperature_c is None:
        return f"settling: {state.waited_s:.0f} of {least_s:.0f} s; this node tells no temperature"
    slope = "" if state.slope_c_per_min is None else f", {state.slope_c_per_min:+.2f} °C/min (stable below {SLOPE_C_PER_MIN:g})"
    return f"settling: {state.waited_s:.0f} s, at least {least_s:.0f}; {state.temperature_c:.1f} °C{slope}"
