"""Watts of each layer from the design: generalised least squares, shrunk towards the layers' common power, non-negative.

Model of one row: energy = sum of watts × seconds + noise, the layers' watts normal about a common mean whose spread the data
choose (hierarchical, marginal likelihood). Standard errors are those of the model, enlarged where blocks of time disagree by more
than it allows (block bootstrap, taken to the limit of many draws). A layer is told apart only where the design alone, before any
response is seen, promises a standard error that is small against the common power.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import nnls

from .design import LayerDesign, Rows
from .prior import PRIOR_SD, Prior, Rest, spreads
from .whitening import counter_covariance, series_covariance, wandering, whiten

RESOLUTION = 0.05
"""Largest standard error that the design may promise for a layer, over the mean layer's power, for a figure to be given."""

REPEAT_SD = 0.008
"""By how much the power of repeated layers may truly differ from that of first computations, relative."""

BLOCK_S = 2.0
"""Least length of a block of time, which may have a drift of power of its own."""

BLOCK_TOKENS = 12
"""A block is at least so many tokens long, or it could not tell layers apart."""

_MOST_PASSES = 12
_SETTLED = 5e-4


@dataclass(frozen=True, slots=True)
class Total:
    """All of decoding: `joules` with standard deviation `sd`, and the `seconds` in it by column of the design."""

    joules: float
    sd: float
    seconds: np.ndarray


@dataclass(frozen=True, slots=True)
class LayerFit:
    """`watts` (n + 2,) of the layers, of the rest of decoding, and by how much rows with repeats seem to differ, with their
    `covariance`; `resolution` and `told_apart` (n,) by the gate; `spread`: relative spread of the layers' watts."""

    watts: np.ndarray
    covariance: np.ndarray
    resolution: np.ndarray
    spread: float

    @property
    def told_apart(self) -> np.ndarray:
        """Which layers the design tells apart, shape (n,)."""
        return np.asarray(self.resolution <= RESOLUTION)


@dataclass(frozen=True, slots=True)
class _Normal:
    """Normal equations by blocks of time: `matrix` (blocks, m, m), `vector` (blocks, m)."""

    matrix: np.ndarray
    vector: np.ndarray


def fit_layers(design: LayerDesign, quantum_j: float, total: Total, token_s: float, idle_w: float) -> LayerFit | None:
    """Fit the watts; None where there are too few rows to say anything. `token_s`: mean time of a token; `idle_w`: or NaN."""
    if len(design.registers.response) < 20:
        return None
    common_w = float(design.registers.response.sum() / max(design.registers.lasts_s.sum(), 1e-9))
    block_s = max(BLOCK_S, BLOCK_TOKENS * token_s)
    watts = np.append(np.full(design.registers.seconds.shape[1] - 1, common_w), 0.0)
    for _pass in range(_MOST_PASSES):
        normal = _without_drift(_normal_equations(design, quantum_j, watts, block_s), watts)
        fit = _solve(_with_total(normal, total, common_w), common_w, Rest.beside(common_w, idle_w))
        moved, watts = np.abs(fit.watts - watts).max(), fit.watts
        if moved < _SETTLED * common_w:
            break
    return fit


def _aged(rows: Rows, watts: np.ndarray) -> Rows:
    """Refine age and blur of the readings of P by the run itself: least squares of what the watts leave over."""
    if rows.slope is None or rows.bend is None or np.ptp(watts[:-1]) == 0:
        return rows
    beside = np.column_stack([rows.response - rows.seconds @ watts, rows.slope @ watts, rows.bend @ watts])
    white = whiten(_series(rows, watts), beside)
    found, *_rest = np.linalg.lstsq(white[:, 1:], white[:, 0], rcond=1e-6)
    shift, blur = np.clip(found, [-1.0, -0.1], [1.0, 1.5])
    return rows.aged(float(shift), float(blur))


def _normal_equations(design: LayerDesign, quantum_j: float, watts: np.ndarray, block_s: float) -> _Normal:
    counted = _blocks(design.registers, _counter(design.registers, quantum_j, watts), block_s)
    if design.power is None or len(design.power.response) < 20:
        return counted
    rows = _aged(design.power, watts)
    power = _blocks(rows, _series(rows, watts), block_s)
    n = max(len(counted.matrix), len(power.matrix))
    return _Normal(_padded(counted.matrix, n) + _padded(power.matrix, n), _padded(counted.vector, n) + _padded(power.vector, n))


def _counter(rows: Rows, quantum_j: float, watts: np.ndarray) -> np.ndarray:
    residual = rows.response - rows.seconds @ watts
    wander = wandering(rows.stretch, rows.at_s, residual, quantum_j)
    return counter_covariance(rows.stretch, rows.lasts_s, quantum_j, max(wander, 1e-6))


def _series(rows: Rows, watts: np.ndarray) -> np.ndarray:
    """Readings of P overlap in their averaging windows, and so do their errors."""
    step_s = max(float(np.median(np.diff(rows.at_s))), 1e-3)
    bands = int(np.clip(np.ceil(4 * np.median(rows.lasts_s) / step_s), 1, 60))
    return series_covariance(rows.stretch, rows.response - rows.seconds @ watts, bands)


def _blocks(rows: Rows, covariance: np.ndarray, block_s: float) -> _Normal:
    white = whiten(covariance, np.column_stack([rows.seconds, rows.response]))
    block = (rows.at_s // block_s).astype(np.int64)
    n, m = int(block.max()) + 1, rows.seconds.shape[1]
    matrix, vector = np.zeros((n, m, m)), np.zeros((n, m))
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    for first, last in pairwise(edges):
        x, y = white[first:last, :m], white[first:last, m]
        matrix[block[first]] += x.T @ x
        vector[block[first]] += x.T @ y
    return _Normal(matrix, vector)


def _without_drift(normal: _Normal, watts: np.ndarray) -> _Normal:
    """Let each block have an offset of power of its own (temperature, clock): layers are told apart within blocks only.

    The offsets are random effects; integrated out, they take from each block what it says of the sum of all columns.
    """
    along = normal.matrix[:, :, :-1].sum(axis=2)
    strength, pull = along[:, :-1].sum(axis=1), normal.vector[:, :-1].sum(axis=1)
    used = strength > 0
    offset = (pull - along @ watts)[used] / strength[used]
    variance = max(float(np.mean(offset**2 - 1 / strength[used])), 1e-12)
    share = np.zeros(len(strength))
    share[used] = 1 / (strength[used] + 1 / variance)
    matrix = normal.matrix - np.einsum("b,bi,bj->bij", share, along, along)
    return _Normal(matrix, normal.vector - (share * pull)[:, None] * along)


def _with_total(normal: _Normal, total: Total, common_w: float) -> _Normal:
    """One more block: what all of decoding drew, which pins the level that the drift leaves open.

    It says nothing of how rows with repeats seem to differ: that is no property of repeats alone, for it is no chance how much of
    the rest lies beside them. By how much repeats may truly differ is in its error.
    """
    sd = np.hypot(total.sd, REPEAT_SD * common_w * total.seconds[-1])
    row, response = np.append(total.seconds[:-1], 0.0) / sd, total.joules / sd
    return _Normal(
        np.concatenate([normal.matrix, np.outer(row, row)[None]]), np.concatenate([normal.vector, (row * response)[None]])
    )


def _padded(array: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((n - len(array), *array.shape[1:]))])


def _solve(normal: _Normal, common_w: float, rest: Rest) -> LayerFit:
    matrix, vector = normal.matrix.sum(axis=0), normal.vector.sum(axis=0)
    n = len(vector) - 2
    gate = np.linalg.inv(matrix + Prior.of(n, PRIOR_SD * common_w, rest).precision)
    tried, weight = _tries(matrix, vector, n, common_w, rest)
    watts = sum(w * each.watts for w, each in zip(weight, tried, strict=True))
    inflation = _inflation(normal, watts, gate)
    covariance = sum(
        w * (each.noise * inflation + each.shrinkage + np.outer(each.watts - watts, each.watts - watts))
        for w, each in zip(weight, tried, strict=True)
    )
    resolution = np.sqrt(np.diag(gate)[:n] * inflation) / common_w
    return LayerFit(np.asarray(watts), np.asarray(covariance), resolution, float(weight @ spreads()[0]))


def _tries(matrix: np.ndarray, vector: np.ndarray, n: int, common_w: float, rest: Rest) -> tuple[list[_Posterior], np.ndarray]:
    """Every spread of the layers that is tried, and how probable the data make it; the sum is 1."""
    relative, weight = spreads()
    tried = [_posterior(matrix, vector, Prior.of(n, spread * common_w, rest), spread) for spread in relative]
    weight = weight * np.exp([each.evidence - max(other.evidence for other in tried) for each in tried])
    return tried, weight / weight.sum()


@dataclass(frozen=True, slots=True)
class _Posterior:
    watts: np.ndarray
    noise: np.ndarray
    shrinkage: np.ndarray
    evidence: float


def _posterior(matrix: np.ndarray, response: np.ndarray, prior: Prior, spread: float) -> _Posterior:
    """One spread of the layers: mean, covariance by its two causes, and the logarithm of the marginal likelihood."""
    precision, vector = matrix + prior.precision, response + prior.pull
    factor = np.linalg.cholesky(precision)
    watts = _non_negative(factor, vector)
    inverse = np.linalg.inv(precision)
    contrasts = len(vector) - 3
    evidence = vector @ inverse @ vector / 2 - np.log(np.diag(factor)).sum() - contrasts * np.log(spread)
    return _Posterior(watts, inverse @ matrix @ inverse, inverse @ prior.precision @ inverse, float(evidence))


def _non_negative(factor: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve L L' watts = vector; where a power came out below 0, again with all powers held at 0 or above."""
    found = cho_solve((factor, True), vector)
    if (found[:-1] >= 0).all():
        return np.asarray(found)
    signed = np.column_stack([factor.T, -factor.T[:, -1]])  # what sets repeats apart may have either sign
    bounded, _rest = nnls(signed, solve_triangular(factor, vector, lower=True))
    return np.append(bounded[:-2], bounded[-2] - bounded[-1])


def _inflation(normal: _Normal, watts: np.ndarray, inverse: np.ndarray) -> float:
    """How much more the blocks disagree about what sets layers apart than the model allows; at least 1.

    `inverse` turns scores into watts; what all layers have in common is taken out, for the blocks' offsets and the total hold it.
    """
    n = len(watts) - 2
    score = normal.vector - normal.matrix @ watts
    centre = np.eye(n) - 1 / n
    found = (score @ inverse)[:, :n] @ centre
    allowed = centre @ (inverse @ normal.matrix.sum(axis=0) @ inverse)[:n, :n] @ centre
    return max(1.0, float((found**2).sum() / max(np.trace(allowed), 1e-30)))
