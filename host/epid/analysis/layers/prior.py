"""What is taken for granted about watts before a run is looked at: how alike layers are, and where the rest of decoding lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PRIOR_SD = 0.3
"""Spread of units about their mean that the gate reckons with, relative; so far off, a layer is not to be missed."""

KINDS_APART_SD = 0.5
"""Spread of the mean powers of attention and of feed-forward halves about what they have in common, relative."""

_MOST_SWING = 1.5
_SPREADS = np.geomspace(0.003, 0.6, 24)


@dataclass(frozen=True, slots=True)
class Rest:
    """Power of the rest of decoding (head, sampling, time between tokens) less the units': `mean_w`, give or take `sd_w`."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """Which of the n units are alike: `member` (kinds, n) has a row for each kind, 1 for its units and 0 for the others."""

    member: np.ndarray

    @classmethod
    def of(cls, what: np.ndarray) -> Kinds:
        """One kind for each value in `what` (n,)."""
        return cls((what == np.unique(what)[:, None]).astype(float))

    def __len__(self) -> int:
        return int(self.member.shape[1])

    @property
    def contrasts(self) -> int:
        """Differences between units of one kind that are independent of each other."""
        return len(self) - len(self.member)

    def precision(self, sd_w: float, apart_sd_w: float) -> np.ndarray:
        """Of units about the mean of their kind, and of the kinds' means about each other; the level of all is left open."""
        mean = self.member / self.member.sum(axis=1, keepdims=True)
        within = np.eye(len(self)) - self.member.T @ mean
        away = mean - mean.mean(axis=0)
        return np.asarray(within / sd_w**2 + away.T @ away / apart_sd_w**2)


@dataclass(frozen=True, slots=True)
class Prior:
    """Normal prior of the watts (n + 2,): `precision`, and `pull`, the precision times its mean."""

    precision: np.ndarray
    pull: np.ndarray

    @classmethod
    def of(cls, kinds: Kinds, spread: float, common_w: float, rest: Rest) -> Prior:
        """Of units with so much relative spread about the mean of their kind, and of the rest. The level of all units is left
        open, and so is what sets repeats apart."""
        n = len(kinds)
        precision = np.zeros((n + 2, n + 2))
        precision[:n, :n] = kinds.precision(spread * common_w, KINDS_APART_SD * common_w)
        away = np.append(np.full(n, -1 / n), [1.0, 0.0])
        precision += np.outer(away, away) / rest.sd_w**2
        return cls(precision, away * rest.mean_w / rest.sd_w**2)


def spreads() -> tuple[np.ndarray, np.ndarray]:
    """Spreads of the units to try, relative, and the prior weight of each.

    Half-Cauchy in the spread itself. Evenly in its logarithm would take layers for equal wherever they are few (Gelman 2006,
    Bayesian Analysis 1, 515).
    """
    return _SPREADS, _SPREADS / (1 + (_SPREADS / PRIOR_SD) ** 2)
