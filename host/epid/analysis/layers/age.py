"""How old the readings of P are, refined by the run itself.

The chip renews P at instants of its own, so a reading may be up to a refresh older than another. What is known of its row is the
mean over all ages that are possible; the error that this leaves does not depend on the design, and so does not flatten the
estimates (Berkson 1950, J. Am. Stat. Assoc. 45, 164).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from .design import AGES_S, FEWEST_ROWS, LayerDesign, Rows
from .whitening import whiten

_CENTRES_S = np.linspace(-0.025, 0.025, 41)
_WIDTHS_S = np.linspace(0.0, 0.1, 41)
_LEAST_SD_S = 0.005
"""The lag that was found from a pattern is not taken to hold more closely for other readings."""

_POINTS = 21
"""Ages that stand for all those in an interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Age:
    """Ages lie evenly in `width_s` seconds about `centre_s`, which counts from the lag; `covariance` (2, 2) of the two."""

    centre_s: float = 0.0
    width_s: float = 0.0
    covariance: np.ndarray | None = None

    def extremes(self) -> Iterator[tuple[Age, Age]]:
        """Yield pairs that lie one standard deviation to both sides, along each principal axis of the uncertainty."""
        if self.covariance is None:
            return
        variances, axes = np.linalg.eigh(self.covariance)
        for variance, axis in zip(variances, axes.T, strict=True):
            centre_s, width_s = np.sqrt(max(variance, 0.0)) * axis
            yield self._moved(centre_s, width_s), self._moved(-centre_s, -width_s)

    def of(self, rows: Rows) -> Rows:
        """Return the rows as means over these ages."""
        return rows.aged(_weights(np.array([self.centre_s]), np.array([self.width_s]))[0])

    def _moved(self, centre_s: float, width_s: float) -> Age:
        return Age(self.centre_s + centre_s, max(self.width_s + width_s, 0.0))


def age_of(design: LayerDesign, watts: np.ndarray, noise: Callable[[Rows, np.ndarray], np.ndarray]) -> Age:
    """Weigh all ages by how well they explain the readings, given the watts; `noise`: banded covariance of the rows."""
    rows = design.power
    if rows is None or rows.ages is None or len(rows.response) < FEWEST_ROWS or np.ptp(watts[:-1]) == 0:
        return Age()
    white = whiten(noise(rows, watts), np.column_stack([rows.response, *(seconds @ watts for seconds in rows.ages)]))
    gram = white.T @ white
    both, weights = _every_age()
    misfit = np.einsum("ki,ij,kj->k", weights, gram[1:, 1:], weights) - 2 * weights @ gram[1:, 0]
    misfit += (both[0] / max(design.lag_sd_s, _LEAST_SD_S)) ** 2
    likely = np.exp((misfit.min() - misfit) / 2)
    likely /= likely.sum()
    centre_s, width_s = both @ likely
    return Age(float(centre_s), float(width_s), np.cov(both, aweights=likely, ddof=0))


@cache
def _every_age() -> tuple[np.ndarray, np.ndarray]:
    """Centres and widths (2, n) of all ages that are tried, and the weights (n, ages) of each; the same in every fit."""
    both = np.stack([grid.ravel() for grid in np.meshgrid(_CENTRES_S, _WIDTHS_S)])
    return both, _weights(*both)


def _weights(centres_s: np.ndarray, widths_s: np.ndarray) -> np.ndarray:
    """How much the rows of each age in AGES_S count, shape (n, ages): ages between two are shared out to both."""
    inside = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    ages_s = centres_s[:, None] + widths_s[:, None] * inside
    at = np.clip((ages_s - AGES_S[0]) / (AGES_S[1] - AGES_S[0]), 0, len(AGES_S) - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(at[:, :, None] - np.arange(len(AGES_S)))).mean(axis=1))
