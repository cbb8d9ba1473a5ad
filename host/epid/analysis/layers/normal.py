"""The rows of a design as normal equations by blocks of time: whitened, without drift, and with the total of decoding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .age import Age
from .design import FEWEST_ROWS, LayerDesign, Rows
from .whitening import counter_covariance, series_covariance, wandering, whiten

REPEAT_SD = 0.008
"""By how much the power of repeated units may truly differ from that of first computations, relative."""


@dataclass(frozen=True, slots=True)
class Total:
    """All of decoding: `joules` with standard deviation `sd`, and the `seconds` in it by column of the design."""

    joules: float
    sd: float
    seconds: np.ndarray


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal equations by blocks of time: `matrix` (blocks, m, m), `vector` (blocks, m)."""

    matrix: np.ndarray
    vector: np.ndarray


def normal_equations(design: LayerDesign, quantum_j: float, watts: np.ndarray, block_s: float, age: Age) -> Normal:
    """Whiten the rows by what the watts so far leave over, and sum them by blocks of `block_s` seconds."""
    counted = _blocks(design.registers, _counter(design.registers, quantum_j, watts), block_s)
    if design.power is None or len(design.power.response) < FEWEST_ROWS:
        return counted
    rows = age.of(design.power)
    power = _blocks(rows, series_noise(rows, watts), block_s)
    n = max(len(counted.matrix), len(power.matrix))
    return Normal(_padded(counted.matrix, n) + _padded(power.matrix, n), _padded(counted.vector, n) + _padded(power.vector, n))


def without_drift(normal: Normal, watts: np.ndarray) -> Normal:
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
    return Normal(matrix, normal.vector - (share * pull)[:, None] * along)


def with_total(normal: Normal, total: Total, common_w: float) -> Normal:
    """One more block: what all of decoding drew, which pins the level that the drift leaves open.

    It says nothing of how rows with repeats seem to differ: that is no property of repeats alone, for it is no chance how much of
    the rest lies beside them. By how much repeats may truly differ is in its error.
    """
    sd = np.hypot(total.sd, REPEAT_SD * common_w * total.seconds[-1])
    row, response = np.append(total.seconds[:-1], 0.0) / sd, total.joules / sd
    return Normal(
        np.concatenate([normal.matrix, np.outer(row, row)[None]]), np.concatenate([normal.vector, (row * response)[None]])
    )


def series_noise(rows: Rows, watts: np.ndarray) -> np.ndarray:
    """Readings of P overlap in their averaging windows, and so do their errors."""
    step_s = max(float(np.median(np.diff(rows.at_s))), 1e-3)
    bands = int(np.clip(np.ceil(4 * np.median(rows.lasts_s) / step_s), 1, 60))
    return series_covariance(rows.stretch, rows.response - rows.seconds @ watts, bands)


def _counter(rows: Rows, quantum_j: float, watts: np.ndarray) -> np.ndarray:
    residual = rows.response - rows.seconds @ watts
    wander = wandering(rows.stretch, rows.at_s, residual, quantum_j)
    return counter_covariance(rows.stretch, rows.lasts_s, quantum_j, max(wander, 1e-6))


def _blocks(rows: Rows, covariance: np.ndarray, block_s: float) -> Normal:
    white = whiten(covariance, np.column_stack([rows.seconds, rows.response]))
    block = (rows.at_s // block_s).astype(np.int64)
    n, m = int(block.max()) + 1, rows.seconds.shape[1]
    matrix, vector = np.zeros((n, m, m)), np.zeros((n, m))
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    for first, last in pairwise(edges):
        x, y = white[first:last, :m], white[first:last, m]
        matrix[block[first]] += x.T @ x
        vector[block[first]] += x.T @ y
    return Normal(matrix, vector)


def _padded(array: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((n - len(array), *array.shape[1:]))])
