"""What is taken for granted about layers and the rest of decoding before a run is looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epid.analysis.layers.prior import KINDS_APART_SD, Kinds, Prior, Rest, spreads


@given(idle_w=st.floats(0.5, 6), swing_w=st.floats(0.1, 10))
def test_the_rest_lies_evenly_between_idle_and_half_again_what_layers_draw(idle_w, swing_w):
    rest = Rest.beside(idle_w + swing_w, idle_w)
    drawn = idle_w + swing_w * 1.5 * np.linspace(0, 1, 2001) - (idle_w + swing_w)
    assert rest.mean_w == pytest.approx(drawn.mean(), abs=1e-9) and rest.sd_w == pytest.approx(drawn.std(), rel=1e-2)


@pytest.mark.parametrize("idle_w", [float("nan"), 9.0])
def test_without_a_usable_idle_the_rest_may_be_anything_about_the_layers(idle_w):
    assert Rest.beside(8.0, idle_w) == Rest(0.0, pytest.approx(2.4))


@given(n=st.integers(2, 12), level=st.floats(1, 20), seed=st.integers(0, 100))
def test_the_prior_leaves_the_level_and_the_repeats_open_and_has_the_rest_at_its_mean(n, level, seed):
    rest = Rest(-1.5, 0.8)
    prior = Prior.of(Kinds.of(np.zeros(n)), 0.1, 5.0, rest)
    flat = np.append(np.full(n, level), [level + rest.mean_w, np.random.default_rng(seed).normal()])
    assert prior.precision @ flat == pytest.approx(prior.pull, abs=1e-9)
    moved = flat + np.append(np.zeros(n), [rest.sd_w, 0.0])
    cost = moved @ prior.precision @ moved / 2 - prior.pull @ moved
    assert cost - (flat @ prior.precision @ flat / 2 - prior.pull @ flat) == pytest.approx(0.5, abs=1e-6)


def test_small_spreads_are_not_favoured_over_large_ones():
    relative, weight = spreads()
    assert (np.diff(weight[relative < 0.3]) > 0).all(), "on a grid even in the logarithm, weights grow like the spread itself"


@given(sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)), apart_w=st.floats(-6, 6), spread_w=st.floats(0.1, 3))
def test_kinds_may_lie_apart_at_their_own_cost_and_units_of_a_kind_about_their_own_mean(sizes, apart_w, spread_w):
    kinds = Kinds.of(np.repeat([0, 1], sizes))
    step = np.repeat([apart_w / 2, -apart_w / 2], sizes)
    precision = kinds.precision(spread_w, KINDS_APART_SD * 8.0)
    assert np.ones(len(kinds)) @ precision @ np.ones(len(kinds)) == pytest.approx(0, abs=1e-9), "the level is left open"
    assert step @ precision @ step == pytest.approx(apart_w**2 / 2 / (KINDS_APART_SD * 8.0) ** 2)
    assert kinds.contrasts == sum(sizes) - 2
    away = np.zeros(len(kinds))
    away[: sizes[0]] = spread_w * (np.arange(sizes[0]) - (sizes[0] - 1) / 2)
    assert away @ precision @ away == pytest.approx((away**2).sum() / spread_w**2, abs=1e-9)
