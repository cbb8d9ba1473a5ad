"""Arrays of instants are placed as the clock map places one."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from epid.analysis.timeline.placing import place
from epid.clocks import ClockEstimator, Exchange

S = 1_000_000_000


@cache
def clock(seed, n=30):
    rng = np.random.default_rng(seed)
    estimator = ClockEstimator()
    for k in range(n):
        sent = k * S
        there = int(sent * (1 + 30e-6)) + 5 * S + int(rng.integers(10_000, 200_000))
        estimator.add(Exchange(sent, there, there + 20_000, sent + int(rng.integers(250_000, 500_000))))
    return estimator.fit()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2), instants=st.lists(st.integers(0, 60 * S), min_size=1, max_size=30))
def test_every_instant_has_the_place_and_the_bound_that_the_map_gives_it(seed, instants):
    fitted = clock(seed)
    host_ns, bound_ns = place(np.array(instants, dtype=np.int64), fitted)
    for at, host, bound in zip(instants, host_ns, bound_ns, strict=True):
        expected, within = fitted.to_host_ns(at)
        assert abs(int(host) - expected) <= 2 and abs(bound - within) <= max(2.0, 1e-6 * within)
