"""What is taken for granted about watts before a run is looked at: how alike layers are, and where the rest of decoding lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PRIOR_SD = 0.3
"""Spread of layers about their mean that the gate reckons with, relative; so far off, a layer is not to be missed."""

_MOST_SWING = 1.5
_SPREADS = np.geomspace(0.003, 0.6, 24)


@dataclass(frozen=True, slots=True)
class Rest:
    """Power of the rest of decoding (head, sampling, time between tokens) less the layers': `mean_w`, give or take `sd_w`."""

    mean_w: float
    sd_w: float

    @classmethod
    def beside(cls, layers_w: float, idle_w: float) -> Rest:
        """No run tells the rest from the layers, for it comes with every token. It draws no less than the idle node, and is
        taken to draw no more than half as much again above idle as layers do, anything between being as likely."""
        swing_w = layers_w - idle_w
        if not swing_w > 0:
            return cls(0.0, PRIOR_SD * layers_w)
        return cls((_MOST_SWING / 2 - 1) * swing_w, _MOST_SWING * swing_w / math.sqrt(12))


@dataclass(frozen=True, slots=True)
class Prior:
    """Normal prior of the watts (n + 2,): `precision`, and `pull`, the precision times its mean."""

    precision: np.ndarray
    pull: np.ndarray

    @classmethod
    def of(cls, n: int, layers_sd_w: float, rest: Rest) -> Prior:
        """Of `n` layers about their mean, which is left open, and of the rest; what sets repeats apart is left open too."""
        precision = np.zeros((n + 2, n + 2))
        precision[:n, :n] = (np.eye(n) - 1 / n) / layers_sd_w**2
        away = np.append(np.full(n, -1 / n), [1.0, 0.0])
        precision += np.outer(away, away) / rest.sd_w**2
        return cls(precision, away * rest.mean_w / rest.sd_w**2)


def spreads() -> tuple[np.ndarray, np.ndarray]:
    """Spreads of the layers to try, relative, and the prior weight of each.

    Half-Cauchy in the spread itself. Evenly in its logarithm would take layers for equal wherever they are few (Gelman 2006,
    Bayesian Analysis 1, 515).
    """
    return _SPREADS, _SPREADS / (1 + (_SPREADS / PRIOR_SD) ** 2)
