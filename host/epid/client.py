"""Measuring windows from a program or a notebook, against a running `epid serve`.

import epid

with epid.Client(meter="pi0") as client:
    client.begin_window("prefill")
    ...
    print(client.end_window("prefill"))
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from epi_protocol import PROTOCOL_VERSION, events

from .daemon.client import Connection
from .errors import EpidError, UsageError

DEFAULT_ENDPOINT = f"tcp://127.0.0.1:{events.DEFAULT_PORT}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a meter channel counted between two moments.

    `joules` NaN where it cannot be told; `fault` then says why. `within_j`: the register's step, the clock's bound at both
    edges, and the gain's uncertainty, added up; `gain_within`: the last of these, relative, None where the channel was never
    calibrated and `within_j` therefore leaves it out.
    """

    name: str
    joules: float
    seconds: float
    within_j: float
    simulated: bool
    board_id: str
    channel: int
    gain_within: float | None = None
    fault: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """Joules at least and at most."""
        return self.joules - self.within_j, self.joules + self.within_j

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds if self.seconds else math.nan

    def __str__(self) -> str:
        tag = " (simulated)" if self.simulated else ""
        if self.fault:
            return f"{self.name}: no energy, {self.fault}{tag}"
        uncalibrated = ", meter not calibrated" if self.gain_within is None else ""
        return f"{self.name}: {self.joules:.2f} ± {self.within_j:.2f} J{tag} in {self.seconds:.3f} s{uncalibrated}"


class Client:
    """Windows on one meter channel. `meter` is a node's name, or BOARD:CHANNEL; windows may nest and overlap.

    `keys` is the daemon's folder of keys, where it has one. EpidError where no daemon answers within `timeout_s`.
    """

    def __init__(self, meter: str, endpoint: str = DEFAULT_ENDPOINT, keys: Path | None = None, timeout_s: float = 5.0) -> None:
        self.meter = meter
        self._timeout_ms = int(timeout_s * 1000)
        self._connection = Connection(endpoint, keys)
        self._open: dict[str, str] = {}

    def begin_window(self, name: str) -> None:
        """Open a window; it begins before this returns."""
        if name in self._open:
            raise UsageError(f"window {name!r} is open already; end it, or give this one another name")
        window = secrets.token_hex(8)
        body = {"protocol": PROTOCOL_VERSION, "window": window, "name": name, "meter": self.meter}
        self._ask("window_begin", body, "window_open", window)
        self._open[name] = window

    def end_window(self, name: str) -> Measurement:
        """Close a window, and return what was metered in it; waits until the meter has been read once more."""
        window = self._open.pop(name, None)
        if window is None:
            raise UsageError(f"there is no open window {name!r}; open are: {', '.join(self._open) or 'none'}")
        return measured(self._ask("window_end", {"window": window}, "window_closed", window))

    @contextmanager
    def window(self, name: str) -> Iterator[list[Measurement]]:
        """Measure a block: the list is empty inside it, and holds the one measurement after it."""
        found: list[Measurement] = []
        self.begin_window(name)
        try:
            yield found
        finally:
            found.append(self.end_window(name))

    def close(self) -> None:
        """Hang up; windows that are still open are forgotten."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, kind: str, body: dict[str, Any], answer: str, window: str) -> dict[str, Any]:
        self._connection.send(kind, body)
        while True:
            got, answered = self._connection.receive(self._timeout_ms)
            if got == "refused":
                raise EpidError(str(answered.get("reason")))
            if got == answer and answered.get("window") == window:
                return answered


def measured(answer: dict[str, Any]) -> Measurement:
    """Work out a `window_closed`: joules between its edges, the counter taken to rise evenly between two readings."""
    seconds = (answer["end_ns"] - answer["begin_ns"]) / 1e9
    about = {name: answer[name] for name in ("name", "simulated", "board_id", "channel", "gain_within", "fault")}
    if answer["fault"]:
        return Measurement(joules=math.nan, seconds=seconds, within_j=math.nan, **about)
    tick_j = float(answer["energy_j_per_tick"])
    joules = tick_j * (_ticks_at(answer["end"], answer["end_ns"]) - _ticks_at(answer["begin"], answer["begin_ns"]))
    edges_j = sum(_watts(answer[edge], tick_j) for edge in ("begin", "end")) * answer["bound_ns"] / 1e9
    within_j = tick_j + edges_j + abs(joules) * (answer["gain_within"] or 0.0)
    return Measurement(joules=joules, seconds=seconds, within_j=within_j, **about)


def _ticks_at(readings: list[list[int]], host_ns: int) -> float:
    (before_ns, before), (after_ns, after) = readings
    return float(before + (after - before) * (host_ns - before_ns) / (after_ns - before_ns))


def _watts(readings: list[list[int]], tick_j: float) -> float:
    """Power at an edge; the counter's own step makes it at most one tick per reading too high."""
    (before_ns, before), (after_ns, after) = readings
    return (abs(after - before) + 1) * tick_j / ((after_ns - before_ns) / 1e9)
