"""Banded whitening against dense linear algebra, and columns that grow against concatenation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_protocol import events
from epid.analysis.layers.whitening import counter_covariance, series_covariance, wandering, whiten
from epid.analysis.timeline.span_columns import SpanColumns
from fakes import node

Q = 0.36


def dense(banded):
    matrix = np.diag(banded[0])
    for lag in range(1, len(banded)):
        matrix += np.diag(banded[lag][:-lag], lag) + np.diag(banded[lag][:-lag], -lag)
    return matrix


def test_whitened_rows_have_the_inner_product_of_the_inverse_covariance():
    rng = np.random.default_rng(1)
    stretch = np.repeat([1, 2, 3], [10, 1, 14])
    banded = counter_covariance(stretch, np.full(25, 0.05), Q, 0.01)
    rows = rng.standard_normal((25, 4))
    white = whiten(banded, rows)
    assert white.T @ white == pytest.approx(rows.T @ np.linalg.inv(dense(banded)) @ rows)
    assert dense(banded)[9, 10] == 0 and dense(banded)[8, 9] == pytest.approx(-(Q**2) / 12)


def test_the_counters_covariance_is_that_of_steps_and_wandering_power():
    """On average over all powers: at one power alone, steps may keep time with the samples."""
    rng, squares, products = np.random.default_rng(2), [], []
    step_s, rate = 0.05, 0.002
    for mean_j in np.linspace(Q, 2 * Q, 400, endpoint=False):
        noise = rng.normal(0, np.sqrt(rate * step_s), 1000)
        moved = np.diff(np.floor(np.cumsum(mean_j + noise) / Q) * Q) - mean_j
        squares.append(np.mean(moved**2))
        products.append(np.mean(moved[1:] * moved[:-1]))
    expected = counter_covariance(np.ones(3, dtype=int), np.full(3, step_s), Q, rate)
    assert np.mean(squares) == pytest.approx(expected[0, 0], rel=0.05)
    assert np.mean(products) == pytest.approx(expected[1, 0], rel=0.1)


def test_wandering_is_found_beside_the_steps():
    rng = np.random.default_rng(3)
    n, step_s, rate = 60_000, 0.05, 0.01
    energy = np.cumsum(rng.normal(0.45, np.sqrt(rate * step_s), n + 1))
    residual = np.diff(np.floor(energy / Q) * Q) - 0.45
    found = wandering(np.ones(n), np.arange(n) * step_s, residual, Q)
    assert found == pytest.approx(rate, rel=0.15)
    assert wandering(np.ones(10), np.arange(10) * step_s, residual[:10], Q) == 0.0


def test_an_estimated_covariance_that_is_none_is_still_usable():
    residual = np.tile([1.0, -1.0], 30)
    white = whiten(series_covariance(np.ones(60), residual, 5), residual[:, None])
    assert np.isfinite(white).all()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 50), max_size=8))
def test_columns_that_grow_are_the_batches_one_after_the_other(sizes):
    columns, expected = SpanColumns(), []
    for seq, size in enumerate(sizes):
        rows = [{"begin_ns": 1000 * seq + k, "end_ns": 5, "kind": 1, "layer": k % 7 - 1} for k in range(size)]
        columns.add(events.span_batch(node.spans(rows, seq=seq, dropped=seq)))
        expected += [row["begin_ns"] for row in rows]
    assert columns.columns()["begin_ns"].tolist() == expected and len(columns) == len(expected)
    assert columns.dropped == max(0, len(sizes) - 1)
