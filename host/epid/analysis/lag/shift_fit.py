"""Least squares for one or two delays inside a signal, with an error that neighbouring residuals cannot make too small.

The model is  y = nuisance @ c + scale * signal(theta):  everything but `theta` is linear and solved for on the way (variable
projection, Golub and Pereyra 1973). The error of `theta` comes of leaving out one block of readings after the other (the
delete-a-group jackknife), because readings that share an averaging window are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import t as student_t

BLOCKS = 16
"""Blocks of neighbouring readings, at one to three seconds each, for the jackknife and for the left-out prediction."""

_STEP = 0.02
"""Of the reach: how far theta is moved to see what the signal does."""

Signal = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the half width of its 95 % interval."""

    value: float
    within: float


UNKNOWN = Estimate(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Projected:
    """Readings `y` (n,) from which the linear nuisance terms `nuisance` (n, m) have been taken out."""

    y: np.ndarray
    basis: np.ndarray
    rest: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, nuisance: np.ndarray) -> Projected:
        """Take the nuisance terms out of `y`."""
        basis, _r = np.linalg.qr(nuisance)
        return cls(y, basis, y - basis @ (basis.T @ y))

    def clean(self, x: np.ndarray) -> np.ndarray:
        """Take the same terms out of a signal (n,) or of several (n, k)."""
        return x - self.basis @ (self.basis.T @ x)

    def scale(self, x: np.ndarray) -> float:
        """Best factor of the signal `x` (n,)."""
        cleaned = self.clean(x)
        power = float(cleaned @ cleaned)
        return float(cleaned @ self.rest) / power if power > 0 else 0.0

    def residual(self, x: np.ndarray) -> np.ndarray:
        """What is left of the readings when the signal `x` has its best factor."""
        return self.rest - self.scale(x) * self.clean(x)


def blocks_of(n: int) -> np.ndarray:
    """Number of the block that each of `n` readings in order belongs to."""
    return np.arange(n) * BLOCKS // n


def fit_shift(y: np.ndarray, nuisance: np.ndarray, signal: Signal, starts: np.ndarray, reach: Sequence[float]) -> np.ndarray:
    """Return the theta (k,) of least squares.

    `signal` maps theta to (n,); `starts` (s, k) are tried first; the answer stays within `reach` of the best of them.
    """
    model = Projected.of(y, nuisance)
    costs = [float(np.sum(model.residual(signal(start)) ** 2)) for start in starts]
    return _refine(model, signal, starts[int(np.argmin(costs))], np.asarray(reach))


def shift_errors(y: np.ndarray, nuisance: np.ndarray, signal: Signal, best: np.ndarray, reach: Sequence[float]) -> np.ndarray:
    """Return theta (BLOCKS, k) fitted without one block of readings each.

    By one Gauss-Newton step from `best`, where the model is linear in its scale and in scale times what theta moves: what a
    second step would change is of second order in a move that is small already.
    """
    step = _STEP * np.asarray(reach)
    slopes = [(signal(best + move) - signal(best - move)) / (2 * size) for move, size in zip(np.diag(step), step, strict=True)]
    columns = np.column_stack([nuisance, *slopes, signal(best), y])
    edges = np.searchsorted(blocks_of(len(y)), np.arange(BLOCKS + 1))
    squares = np.array([piece.T @ piece for piece in np.split(columns, edges[1:-1])])
    left = squares.sum(axis=0) - squares
    found = np.linalg.solve(left[:, :-1, :-1], left[:, :-1, -1:])[:, :, 0]
    moved = found[:, -1 - len(step) : -1] / found[:, -1:]
    return np.asarray(best + np.clip(moved, -np.asarray(reach), np.asarray(reach)))


def jackknife_within(without: np.ndarray) -> float:
    """Half width of the 95 % interval from the estimates (BLOCKS,) that left one block out each."""
    variance = (BLOCKS - 1) / BLOCKS * float(np.sum((without - without.mean()) ** 2))
    return float(student_t.ppf(0.975, BLOCKS - 1)) * variance**0.5


def _refine(model: Projected, signal: Signal, start: np.ndarray, reach: np.ndarray) -> np.ndarray:
    found = least_squares(
        lambda theta: model.residual(signal(theta)), start, bounds=(start - reach, start + reach), x_scale=reach, diff_step=1e-3
    )
    return np.asarray(found.x)
