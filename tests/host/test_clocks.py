"""The clock estimator against clocks whose truth is known."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from epid.clocks import ClockEstimator, Exchange

START_NS = 3_000_000_000_000


def exchanges(n, drift, offset_ns, forward_ns, backward_ns, rng):
    """Exchanges with a peer whose clock shows `offset_ns + (1 + drift) * host`; delays are drawn per direction."""

    def peer(host_ns):
        return round(offset_ns + host_ns * (1 + drift))

    out, t1 = [], START_NS
    for _ in range(n):
        arrives = t1 + forward_ns(rng)
        leaves = arrives + 20_000
        out.append(Exchange(t1, peer(arrives), peer(leaves), leaves + backward_ns(rng)))
        t1 += 983_000_000
    return out, peer


def quick(rng):
    return 60_000 + int(rng.expovariate(1 / 40_000))


def usb_write(rng):
    return 60_000 + rng.randrange(1_000_000)


@settings(deadline=None, max_examples=60)
@given(
    drift_ppm=st.floats(-50, 50),
    offset_s=st.floats(-1e4, 1e6),
    n=st.integers(1, 90),
    seed=st.integers(0, 1 << 30),
    at=st.floats(0, 1),
)
def test_the_truth_lies_within_the_stated_bound(drift_ppm, offset_s, n, seed, at):
    rng = random.Random(seed)
    known, peer = exchanges(n, drift_ppm * 1e-6, int(offset_s * 1e9), usb_write, quick, rng)
    estimator = ClockEstimator()
    assert all(estimator.add(exchange) for exchange in known)
    host_ns = START_NS + int(at * 983_000_000 * (n - 1))
    estimate_ns, bound_ns = estimator.fit().to_host_ns(peer(host_ns))
    assert abs(estimate_ns - host_ns) <= bound_ns


def test_a_minute_of_exchanges_beats_the_best_single_one_despite_one_slow_direction():
    known, peer = exchanges(61, 30e-6, 10**12, usb_write, quick, random.Random(7))
    estimator = ClockEstimator()
    for exchange in known:
        estimator.add(exchange)
    fitted = estimator.fit()
    assert fitted.worst_bound_ns < min(exchange.rtt_ns for exchange in known)
    errors = [abs(fitted.to_host_ns(peer(START_NS + k * 500_000_000))[0] - START_NS - k * 500_000_000) for k in range(120)]
    assert max(errors) < 100_000


def test_impossible_and_repeated_stamps_are_refused_and_counted():
    estimator = ClockEstimator()
    assert estimator.add(Exchange(0, 1000, 1100, 500))
    assert not estimator.add(Exchange(1000, 2000, 1900, 1500)), "sent before it was received"
    assert not estimator.add(Exchange(1000, 2000, 2900, 1500)), "spent more time at the peer than away"
    assert not estimator.add(Exchange(2000, 900, 950, 2500)), "the peer's clock ran backwards"
    assert estimator.refused == 3
    assert len(estimator.exchanges) == 1


def test_without_an_exchange_there_is_no_map():
    assert ClockEstimator().fit() is None
    assert ClockEstimator().fit_latest() is None


def test_a_clock_that_steps_inside_a_window_widens_the_bound_instead_of_lying():
    known, _ = exchanges(31, 0.0, 0, quick, quick, random.Random(1))
    stepped = [Exchange(e.t1, e.t2 + 5_000_000, e.t3 + 5_000_000, e.t4) if k > 15 else e for k, e in enumerate(known)]
    estimator = ClockEstimator()
    for exchange in stepped:
        estimator.add(exchange)
    before = known[3]
    estimate_ns, bound_ns = estimator.fit().to_host_ns(before.t2)
    assert abs(estimate_ns - (before.t1 + before.t4) / 2) <= bound_ns + before.rtt_ns
