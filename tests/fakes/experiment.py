"""A small simulated experiment: a whole model and its cut twin, each run twice, written once per test session."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from epi_tools.simrun.experiment import Written, interleaved, simulate
from epi_tools.simrun.truth import Truth

UTC = "2026-01-02T03:04:05+00:00"
BASELINE = Truth().changed(
    model={"n_layer": 4},
    workload={"requests": 2, "tokens": 40, "idle_s": 3.0, "pattern_s": 3.0, "repeats": 2},
)
PRUNED = replace(BASELINE.changed(model={"pruned": 0.5}, accuracy={"value": 0.65}), arm="pruned")


@cache
def experiment() -> tuple[Written, ...]:
    """Run files and truths, baseline first, in the order they were run."""
    folder = Path(mkdtemp(prefix="epi-experiment-"))
    orders = interleaved([BASELINE, PRUNED], 2)
    return tuple(simulate(order, 5, folder / f"{order.place}.mcap", UTC, None, lambda _share: None) for order in orders)


def paths() -> list[Path]:
    """The run files alone."""
    return [one.run for one in experiment()]
