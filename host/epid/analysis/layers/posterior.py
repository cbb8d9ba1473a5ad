"""Watts from normal equations: every spread of the units that may be, weighed by how probable the data make it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import nnls

from .normal import Normal
from .prior import PRIOR_SD, Kinds, Prior, Rest, spreads


@dataclass(frozen=True, slots=True)
class Posterior:
    """`watts` (n + 2,) with their `covariance`; `promise` (n, n): the covariance of the units' watts that the design alone comes
    to, before any response is seen."""

    watts: np.ndarray
    covariance: np.ndarray
    promise: np.ndarray


def posterior(normal: Normal, kinds: Kinds, common_w: float, rest: Rest) -> Posterior:
    """Weigh all spreads; standard errors are enlarged where blocks of time disagree by more than the model allows."""
    matrix, vector = normal.matrix.sum(axis=0), normal.vector.sum(axis=0)
    gate = np.linalg.inv(matrix + Prior.of(kinds, PRIOR_SD, common_w, rest).precision)
    tried, weight = _tries(matrix, vector, kinds, common_w, rest)
    watts = sum(w * each.watts for w, each in zip(weight, tried, strict=True))
    inflation = _inflation(normal, watts, gate)
    covariance = sum(
        w * (each.noise * inflation + each.shrinkage + np.outer(each.watts - watts, each.watts - watts))
        for w, each in zip(weight, tried, strict=True)
    )
    promise = gate[: len(kinds), : len(kinds)] * inflation
    return Posterior(np.asarray(watts), np.asarray(covariance), promise)


@dataclass(frozen=True, slots=True)
class _Try:
    """One spread: the mean, its covariance by cause, and the logarithm of the marginal likelihood."""

    watts: np.ndarray
    noise: np.ndarray
    shrinkage: np.ndarray
    evidence: float


def _tries(matrix: np.ndarray, vector: np.ndarray, kinds: Kinds, common_w: float, rest: Rest) -> tuple[list[_Try], np.ndarray]:
    """Every spread that is tried, and how probable the data make it; the sum is 1."""
    relative, weight = spreads()
    priors = [Prior.of(kinds, spread, common_w, rest) for spread in relative]
    volumes = kinds.contrasts * np.log(relative)
    tried = [_try(matrix, vector, prior, volume) for prior, volume in zip(priors, volumes, strict=True)]
    weight = weight * np.exp([each.evidence - max(other.evidence for other in tried) for each in tried])
    return tried, weight / weight.sum()


def _try(matrix: np.ndarray, response: np.ndarray, prior: Prior, volume: float) -> _Try:
    precision, vector = matrix + prior.precision, response + prior.pull
    factor = np.linalg.cholesky(precision)
    watts = _non_negative(factor, vector)
    inverse = np.linalg.inv(precision)
    evidence = vector @ inverse @ vector / 2 - np.log(np.diag(factor)).sum() - volume
    return _Try(watts, inverse @ matrix @ inverse, inverse @ prior.precision @ inverse, float(evidence))


def _non_negative(factor: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve L L' watts = vector; where a power came out below 0, again with all powers held at 0 or above."""
    found = cho_solve((factor, True), vector)
    if (found[:-1] >= 0).all():
        return np.asarray(found)
    signed = np.column_stack([factor.T, -factor.T[:, -1]])  # what sets repeats apart may have either sign
    bounded, _rest = nnls(signed, solve_triangular(factor, vector, lower=True))
    return np.append(bounded[:-2], bounded[-2] - bounded[-1])


def _inflation(normal: Normal, watts: np.ndarray, inverse: np.ndarray) -> float:
    """How much more the blocks disagree about what sets units apart than the model allows; at least 1.

    `inverse` turns scores into watts; what all units have in common is taken out, for the blocks' offsets and the total hold it.
    """
    n = len(watts) - 2
    score = normal.vector - normal.matrix @ watts
    centre = np.eye(n) - 1 / n
    found = (score @ inverse)[:, :n] @ centre
    allowed = centre @ (inverse @ normal.matrix.sum(axis=0) @ inverse)[:n, :n] @ centre
    return max(1.0, float((found**2).sum() / max(np.trace(allowed), 1e-30)))
