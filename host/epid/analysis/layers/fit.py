"""Watts of each unit from the design: generalised least squares, shrunk towards the common power of its kind, non-negative.

A unit is a layer, or a half of one where the run repeats halves. Model of one row: energy = sum of watts × seconds + noise, the
watts of all units of a kind normal about a common mean whose spread the data choose (hierarchical, marginal likelihood). Standard
errors are those of the model, enlarged where blocks of time disagree by more than it allows (block bootstrap, taken to the limit
of many draws). A unit is told apart only where the design alone, before any response is seen, promises a standard error that is
small against the common power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..interval import Interval
from .age import Age, age_of
from .design import FEWEST_ROWS, LayerDesign
from .normal import Total, normal_equations, series_noise, with_total, without_drift
from .posterior import Posterior, posterior
from .prior import Kinds, Rest

RESOLUTION = 0.05
"""Largest standard error that the design may promise, over the mean power of all units, for a figure to be given."""

BLOCK_S = 2.0
"""Least length of a block of time, which may have a drift of power of its own."""

BLOCK_TOKENS = 12
"""A block is at least so many tokens long, or it could not tell layers apart."""

COMPANY_SD = 0.02
"""By how much the difference of attention and feed-forward halves may be off for what lies beside their repeats, relative.

A repeat of an attention half is short and one of a whole layer long, and the layers beside both weigh differently. No run tells:
it is the same in all of them. The figure is what 74 simulated worlds left unexplained.
"""

_MOST_PASSES = 12
_SETTLED = 5e-4


@dataclass(frozen=True, slots=True)
class LayerFit:
    """What was found of the units' watts; a layer, or a half, is a weighted mean of units, `share` (n,) their weights."""

    found: Posterior
    common_w: float

    @property
    def watts(self) -> np.ndarray:
        """Of each unit and of the rest of decoding, shape (n + 1,)."""
        return self.found.watts[:-1]

    def interval_w(self, share: np.ndarray, gain_sd: float) -> Interval:
        """Watts of a mean of units; `gain_sd` is the meter's relative uncertainty."""
        watts = float(share @ self.watts[:-1])
        variance = float(share @ self.found.covariance[:-2, :-2] @ share)
        return Interval.normal(watts, float(np.sqrt(variance + (gain_sd * watts) ** 2)))

    def resolution(self, share: np.ndarray) -> float:
        """Standard error that the design promises for such a mean, over the mean power of all units."""
        return float(np.sqrt(share @ self.found.promise @ share)) / self.common_w


def fit_layers(
    design: LayerDesign, kinds: Kinds, quantum_j: float, total: Total, token_s: float, idle_w: float
) -> LayerFit | None:
    """Fit the watts; None where there are too few rows to say anything. `token_s`: mean time of a token; `idle_w`: or NaN."""
    if len(design.registers.response) < FEWEST_ROWS:
        return None
    common_w = float(design.registers.response.sum() / max(design.registers.lasts_s.sum(), 1e-9))
    block_s = max(BLOCK_S, BLOCK_TOKENS * token_s)

    def solved(watts: np.ndarray, age: Age) -> Posterior:
        normal = without_drift(normal_equations(design, quantum_j, watts, block_s, age), watts)
        return posterior(with_total(normal, total, common_w), kinds, common_w, Rest.beside(common_w, idle_w))

    watts = np.append(np.full(len(kinds) + 1, common_w), 0.0)
    for _pass in range(_MOST_PASSES):
        age = age_of(design, watts, series_noise)
        found = solved(watts, age)
        moved, watts = np.abs(found.watts - watts).max(), found.watts
        if moved < _SETTLED * common_w:
            break
    found = _aged(found, age, lambda other: solved(watts, other).watts)
    return LayerFit(_in_company(found, kinds, total.seconds[: len(kinds)], COMPANY_SD * common_w), common_w)


def _aged(found: Posterior, age: Age, watts_at: Callable[[Age], np.ndarray]) -> Posterior:
    """Add what the uncertain age of the readings does to the watts."""
    covariance = found.covariance
    for older, younger in age.extremes():
        away = (watts_at(older) - watts_at(younger)) / 2
        covariance = covariance + np.outer(away, away)
    return replace(found, covariance=covariance)


def _in_company(found: Posterior, kinds: Kinds, seconds: np.ndarray, sd_w: float) -> Posterior:
    """Add what halves' repeats leave open about the difference of both kinds; what all units draw together is not in doubt."""
    if len(kinds.member) < 2:
        return found
    attention, ffn = kinds.member
    share = float(attention @ seconds) / float(seconds.sum())
    away = np.append((1 - share) * attention - share * ffn, [0.0, 0.0]) * sd_w
    return replace(found, covariance=found.covariance + np.outer(away, away))
