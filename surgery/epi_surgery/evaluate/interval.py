"""Intervals at 95 %: of a share by Wilson's score, of a mean over windows by Student's t."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

_Z = 1.959964
# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom (any table of the distribution).
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson 1927: bounds of a share, honest for few trials and near 0 or 1; (0, 1) for no trial."""
    if n == 0:
        return 0.0, 1.0
    share, spread = correct / n, _Z * _Z / n
    centre = share + spread / 2
    half = _Z * sqrt(share * (1 - share) / n + spread / (4 * n))
    # At the ends the bound is exact, and rounding would leave it a hair inside.
    low = 0.0 if correct == 0 else (centre - half) / (1 + spread)
    return low, 1.0 if correct == n else (centre + half) / (1 + spread)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of the mean of independent values; infinite for fewer than two."""
    n = len(values)
    if n < 2:
        return -float("inf"), float("inf")
    quantile = _T[n - 2] if n - 2 < len(_T) else _Z
    half = quantile * float(np.std(values, ddof=1)) / sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half
