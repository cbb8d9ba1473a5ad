"""Ranks and correlations against scipy; protection and the lowest heads by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from epi_surgery.rank.order import flat, like, lowest, protected, rank_average, ranks, relative_to_layer, spearman, standardised

# Few distinct values, so that ties are common.
layers = st.lists(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=5).map(tuple), min_size=2, max_size=5).map(tuple)


@given(layers)
def test_ranks_are_scipys(scores):
    np.testing.assert_allclose(ranks(flat(scores)), stats.rankdata(flat(scores)) - 1)
    assert like(flat(scores), scores) == scores


@given(layers, st.randoms())
def test_spearman_is_scipys(scores, random):
    other = like(random.sample(list(flat(scores)), len(flat(scores))), scores)
    ours = spearman(scores, other)
    if len(set(flat(scores))) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(flat(scores), flat(other)).statistic)
        assert spearman(scores, scores) == pytest.approx(1)


@given(layers, st.data())
def test_protected_layers_come_last_and_nothing_else_moves(scores, data):
    shielded = data.draw(st.sets(st.integers(0, len(scores) - 1)))
    lifted = protected(scores, sorted(shielded))
    open_heads = sum(len(row) for layer, row in enumerate(scores) if layer not in shielded)
    first = lowest(lifted, open_heads)
    assert all(bool(heads) == (layer not in shielded) for layer, heads in enumerate(first))
    for layer, row in enumerate(scores):
        assert np.argsort(row, kind="stable").tolist() == np.argsort(lifted[layer], kind="stable").tolist()


@given(layers, st.data())
def test_the_lowest_are_no_higher_than_any_other(scores, data):
    n = data.draw(st.integers(0, len(flat(scores))))
    chosen = lowest(scores, n)
    inside = [scores[layer][head] for layer, heads in enumerate(chosen) for head in heads]
    outside = [value for layer, row in enumerate(scores) for head, value in enumerate(row) if head not in chosen[layer]]
    assert len(inside) == n
    assert not inside or not outside or max(inside) <= min(outside)


@given(layers)
def test_rank_average_of_one_order_is_that_order(scores):
    doubled = tuple(tuple(3 * value + 1 for value in row) for row in scores)
    assert rank_average([scores, doubled]) == like(ranks(flat(scores)), scores)


@given(layers)
def test_layers_compared_on_one_scale(scores):
    positive = tuple(tuple(value + 5 for value in row) for row in scores)
    for row in relative_to_layer(positive):
        assert np.mean(row) == pytest.approx(1)
    for row, before in zip(standardised(positive), positive, strict=True):
        assert np.mean(row) == pytest.approx(0, abs=1e-12)
        assert np.std(row) == pytest.approx(1 if len(set(before)) > 1 else 0)
