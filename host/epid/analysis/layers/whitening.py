"""Takes the known correlation between neighbouring rows out of a regression: generalised least squares, by a banded factor."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cholesky_banded, solve_banded


def whiten(covariance: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return L^-1 rows, with L L' the covariance.

    covariance: lower banded form, shape (bands, n), as scipy.linalg.cholesky_banded takes it; rows: (n, m).
    """
    factor = _factor(covariance)
    return np.asarray(solve_banded((len(factor) - 1, 0), factor, rows))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """An estimated covariance may fail to be one; its diagonal is then raised until it is."""
    raised = covariance.copy()
    for _attempt in range(60):
        try:
            return np.asarray(cholesky_banded(raised, lower=True))
        except LinAlgError:
            raised[0] *= 1.05
    raise LinAlgError("the covariance of the rows is far from one")


def counter_covariance(stretch: np.ndarray, step_s: np.ndarray, quantum_j: float, wander_j2_per_s: float) -> np.ndarray:
    """Covariance of increments of a counter: each reading's step goes into one increment and out of the next; power wanders."""
    banded = np.zeros((2, len(stretch)))
    banded[0] = quantum_j**2 / 6 + wander_j2_per_s * step_s
    banded[1, :-1] = np.where(stretch[1:] == stretch[:-1], -(quantum_j**2) / 12, 0)
    return banded


def series_covariance(stretch: np.ndarray, residual: np.ndarray, bands: int) -> np.ndarray:
    """Covariance of rows that follow each other, from their residuals: autocovariance up to `bands`, tapered (Bartlett)."""
    banded = np.zeros((bands + 1, len(stretch)))
    banded[0] = max(float(residual @ residual) / len(residual), 1e-18)
    for lag in range(1, min(bands, len(stretch) - 1) + 1):
        together = stretch[lag:] == stretch[:-lag]
        if together.any():
            mean = float((residual[lag:] * residual[:-lag])[together].mean())
            banded[lag, :-lag] = np.where(together, mean * (1 - lag / (bands + 1)), 0)
    return banded


def wandering(stretch: np.ndarray, at_s: np.ndarray, residual: np.ndarray, quantum_j: float, over_s: float = 2.0) -> float:
    """Growth of the variance of summed residuals, J²/s: what the registers' steps do not explain."""
    summed = np.cumsum(residual)
    step_s = float(np.median(np.diff(at_s))) if len(at_s) > 1 else 1.0
    away = max(1, round(over_s / step_s))
    if len(summed) <= 2 * away:
        return 0.0
    together = stretch[away:] == stretch[:-away]
    if together.sum() < away:
        return 0.0
    moved = (summed[away:] - summed[:-away])[together]
    return max(0.0, (float(np.mean(moved**2)) - quantum_j**2 / 6) / (away * step_s))
