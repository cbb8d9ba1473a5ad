"""How old and how blurred the readings of P are, refined by the run itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .design import FEWEST_ROWS, Rows
from .whitening import whiten

_LEAST, _MOST = (-1.0, -0.1), (1.0, 1.5)
"""Of shift and blur: beyond, it is no age that a refresh of the chip explains."""


@dataclass(frozen=True, slots=True, eq=False)
class Age:
    """`shift` and `blur` in units of the rows' slope and bend, and the `covariance` (2, 2) of both: None if untold."""

    shift: float = 0.0
    blur: float = 0.0
    covariance: np.ndarray | None = None

    def extremes(self) -> Iterator[tuple[Age, Age]]:
        """Yield pairs that lie one standard deviation to both sides, along each principal axis of the uncertainty."""
        if self.covariance is None:
            return
        variances, axes = np.linalg.eigh(self.covariance)
        for variance, axis in zip(variances, axes.T, strict=True):
            shift, blur = np.sqrt(max(variance, 0.0)) * axis
            yield Age(self.shift + shift, self.blur + blur), Age(self.shift - shift, self.blur - blur)


def age_of(rows: Rows | None, watts: np.ndarray, noise: Callable[[Rows, np.ndarray], np.ndarray]) -> Age:
    """Least squares of what the watts leave over; `noise` gives the banded covariance of the rows."""
    if rows is None or len(rows.response) < FEWEST_ROWS or rows.slope is None or rows.bend is None or np.ptp(watts[:-1]) == 0:
        return Age()
    beside = np.column_stack([rows.response - rows.seconds @ watts, rows.slope @ watts, rows.bend @ watts])
    white = whiten(noise(rows, watts), beside)
    found, *_rest = np.linalg.lstsq(white[:, 1:], white[:, 0], rcond=1e-6)
    covariance = np.linalg.pinv(white[:, 1:].T @ white[:, 1:], rcond=1e-12)
    shift, blur = np.clip(found, _LEAST, _MOST)
    return Age(float(shift), float(blur), np.asarray(covariance))
