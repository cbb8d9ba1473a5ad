"""Paired timing: every round runs all variants once in a new random order, so that whatever slows the machine slows all.

The figure is the median over rounds of baseline time / variant time, with a bootstrap interval; above 1 is faster.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Clock = Callable[[], float]
_RESAMPLES = 1000


@dataclass(frozen=True)
class Ratio:
    """Median of paired ratios of the baseline's time to the variant's, its 95 % interval, and the variant's median time."""

    value: float
    interval: tuple[float, float]
    seconds: float


def interleaved(
    runs: Mapping[str, Callable[[], object]], n_rounds: int, seed: int, clock: Clock = time.perf_counter
) -> dict[str, npt.NDArray[np.float64]]:
    """Seconds of each run in each round, after one round that is not counted."""
    order, source = list(runs), random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(n_rounds + 1):
        source.shuffle(order)
        for name in order:
            start = clock()
            runs[name]()
            if i:
                seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratios(seconds: Mapping[str, npt.NDArray[np.float64]], baseline: str, seed: int = 0) -> dict[str, Ratio]:
    """Every variant against the baseline."""
    return {name: _ratio(seconds[baseline] / values, values, seed) for name, values in seconds.items()}


def _ratio(paired: npt.NDArray[np.float64], values: npt.NDArray[np.float64], seed: int) -> Ratio:
    draws = np.random.default_rng(seed).choice(paired, (_RESAMPLES, len(paired)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return Ratio(float(np.median(paired)), (float(low), float(high)), float(np.median(values)))
