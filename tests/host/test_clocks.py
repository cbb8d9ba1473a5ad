"""The clock estimator against clocks whose truth is known."""

import random

import pytest
from clock_world import S, draw_boot, network, usb
from clock_world import exchanges as world_exchanges
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
)
def test_the_truth_lies_within_the_worst_case_of_every_knot(drift_ppm, offset_s, n, seed):
    rng = random.Random(seed)
    known, peer = exchanges(n, drift_ppm * 1e-6, int(offset_s * 1e9), usb_write, quick, rng)
    estimator = ClockEstimator()
    assert all(estimator.add(exchange) for exchange in known)
    for knot in estimator.fit().knots:
        true_ns = round((knot.peer_ns - int(offset_s * 1e9)) / (1 + drift_ppm * 1e-6))
        assert peer(true_ns) == pytest.approx(knot.peer_ns, abs=2)
        assert abs(knot.host_ns - true_ns) <= knot.worst_ns + 2
        assert knot.bound_ns <= knot.worst_ns


@pytest.mark.parametrize("draw_link", [usb, network])
def test_an_hour_with_everything_going_wrong(draw_link):
    rng = random.Random(3)
    boot = draw_boot(rng, 0, 3600 * S, quiet=False)
    recorded, pinger = world_exchanges(rng, boot, draw_link(rng))
    assert pinger.unmatched > 10, "late answers and second ones were not taken"
    estimator = ClockEstimator()
    for exchange in recorded:
        estimator.add(exchange)
    fitted = estimator.fit()
    assert len(fitted.gaps) == 3, "the host slept, the peer slept, the peer's clock jumped"
    outside, held, errors = 0, 0, []
    for _ in range(1000):
        true_ns = boot.awake(rng.randrange(3 * S, 3597 * S))
        peer_ns, host_ns = boot.peer_ns(true_ns), boot.host_ns(true_ns)
        estimate_ns, bound_ns = fitted.to_host_ns(peer_ns)
        if any(gap.begin_ns <= peer_ns <= gap.end_ns for gap in fitted.gaps):
            assert abs(estimate_ns - host_ns) <= bound_ns, "inside a gap the bound is the jump"
            continue
        errors.append(abs(estimate_ns - host_ns))
        outside, held = outside + 1, held + (errors[-1] <= bound_ns)
    errors.sort()
    assert outside > 900 and held / outside >= 0.98
    assert errors[int(0.95 * outside)] <= 100_000 and errors[-1] <= 1_000_000
    assert fitted.worst_bound_ns < 5_000_000, "gaps do not count"


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
    assert not estimator.add(Exchange(0, 3000, 3100, 500)), "answers an older ping"
    assert estimator.refused == 4
    assert len(estimator.exchanges) == 1


def test_without_an_exchange_there_is_no_map():
    assert ClockEstimator().fit() is None
    assert ClockEstimator().fit_latest() is None


@pytest.mark.parametrize("step_ns", [100_000, 400_000, 5_000_000, 86_400 * S])
def test_a_clock_that_steps_inside_a_window_widens_the_bound_or_makes_a_gap_instead_of_lying(step_ns):
    known, _ = exchanges(31, 0.0, 0, quick, quick, random.Random(1))
    stepped = [Exchange(e.t1, e.t2 + step_ns, e.t3 + step_ns, e.t4) if k > 15 else e for k, e in enumerate(known)]
    estimator = ClockEstimator()
    for exchange in stepped:
        estimator.add(exchange)
    fitted = estimator.fit()
    for true, seen in ((known[3], stepped[3]), (known[27], stepped[27])):
        estimate_ns, bound_ns = fitted.to_host_ns(seen.t2)
        assert abs(estimate_ns - (true.t1 + true.t4) / 2) <= bound_ns + true.rtt_ns
    if step_ns > 1_000_000:
        (gap,) = fitted.gaps
        assert abs(gap.jump_ns - step_ns) < 500_000 and gap.begin_ns == stepped[15].t2


def test_after_a_jump_back_the_first_stretch_is_the_map():
    known, _ = exchanges(31, 0.0, 0, quick, quick, random.Random(1))
    stepped = [Exchange(e.t1, e.t2 - 60 * S, e.t3 - 60 * S, e.t4) if k > 15 else e for k, e in enumerate(known)]
    estimator = ClockEstimator()
    for exchange in stepped:
        estimator.add(exchange)
    assert len(estimator.stretches) == 2 and estimator.fit().knots[-1].peer_ns == stepped[15].t2
