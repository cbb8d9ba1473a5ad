"""What the energy registers' counting in steps leaves of error in sums of readings.

A reading lies below the truth by a sawtooth of the energy itself, uniform over one step when the phase is drawn at random. Two
readings that a whole number of steps lies between err alike, so their errors do not average out: the sawtooth's Fourier series
says by how much they do.
"""

from __future__ import annotations

import numpy as np

_HARMONICS = np.arange(1, 41)
_TOGETHER = 2
_WEIGHTS = 6 / (np.pi * _HARMONICS) ** 2


def correlation(turns: np.ndarray, sd_turns: np.ndarray) -> np.ndarray:
    """Correlation (n,) of the errors of two readings that `turns` steps of energy lie between, known to `sd_turns`.

    With turns known exactly it is 1 - 6 a (1 - a), a being their fraction; with turns unknown it is 0.
    """
    damped = np.exp(-2 * (np.pi * np.outer(sd_turns, _HARMONICS)) ** 2)
    return np.asarray((np.cos(2 * np.pi * np.outer(turns, _HARMONICS)) * damped) @ _WEIGHTS)


def sum_variance(weights: np.ndarray, expected_j: np.ndarray, quantum_j: float, uneven: float) -> float:
    """Variance of the sum of readings with `weights`, where `expected_j` had been drawn at each; both of shape (n,).

    `uneven`: to which share the energy between two readings is known. Readings further than _TOGETHER apart count as independent:
    what lies between them is many steps.
    """
    shared = 0.0
    for away in range(1, min(_TOGETHER, len(weights) - 1) + 1):
        beside = weights[away:] * weights[:-away]
        pairs = np.flatnonzero(beside)
        turns = (expected_j[pairs + away] - expected_j[pairs]) / quantum_j
        shared += float(beside[pairs] @ correlation(turns, uneven * turns))
    return quantum_j**2 / 12 * max(float(weights @ weights) + 2 * shared, 0.0)


def line_variance(t_s: np.ndarray, watts: float, quantum_j: float) -> float:
    """Variance of a line's slope through a counter at constant power; `t_s` (n,) counted from its mean.

    Each term of the series is weighed as the slope weighs it, and what no term has as if it were independent between readings.
    Where steps come almost in time with the samples, little of the error averages out.
    """
    weights = t_s / float(t_s @ t_s)
    turns = np.exp(2j * np.pi * np.outer(_HARMONICS, watts * t_s / quantum_j))
    series = float(np.abs(turns @ weights) ** 2 @ _WEIGHTS)
    return quantum_j**2 / 12 * (series + (1 - float(_WEIGHTS.sum())) * float(weights @ weights))
