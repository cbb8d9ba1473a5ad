"""Pings and their answers: each answer belongs to one ping, late and repeated ones to none, and a jump is told."""

import itertools
import random

from epid.daemon.pinger import BURST_PERIOD_NS, BURST_PINGS, LIVE_EXCHANGES, PING_LOST_NS, PING_PERIOD_NS, Pinger

S = 1_000_000_000


def pinger():
    counter = itertools.count()
    return Pinger(8, lambda size: next(counter).to_bytes(size, "little"))


def exchange(peer, host_ns, ahead_ns=0):
    """A ping at `host_ns` and its answer from a peer whose clock is `ahead_ns` ahead; 100 µs each way."""
    nonce = peer.due(host_ns)
    assert nonce is not None
    t2_ns = host_ns + 100_000 + ahead_ns
    return peer.answer(nonce, t2_ns, t2_ns + 10_000, host_ns + 210_000)


def test_a_burst_comes_first_and_then_one_ping_in_a_little_less_than_a_second():
    peer, due_ns = pinger(), []
    for host_ns in range(0, 5 * S, 1_000_000):
        if peer.due(host_ns) is not None:
            due_ns.append(host_ns)
    gaps = [after - before for before, after in itertools.pairwise(due_ns)]
    assert gaps[: BURST_PINGS - 1] == [BURST_PERIOD_NS] * (BURST_PINGS - 1)
    assert all(gap == PING_PERIOD_NS for gap in gaps[BURST_PINGS - 1 :])


def test_an_answer_counts_once_for_its_own_ping_and_not_too_late():
    peer = pinger()
    nonce = peer.due(0)
    assert peer.answer(b"made up!", 1, 2, 3) is None
    assert peer.answer(nonce, 1, 2, 1000) is not None
    assert peer.answer(nonce, 1, 2, 2000) is None
    late = peer.due(BURST_PERIOD_NS)
    assert peer.answer(late, 1, 2, BURST_PERIOD_NS + PING_LOST_NS) is None
    assert peer.unmatched == 3


def test_memory_stays_bounded_with_answers_and_without():
    peer = pinger()
    for k in range(10 * LIVE_EXCHANGES):
        exchange(peer, k * S)
    assert len(peer.clock.exchanges) == LIVE_EXCHANGES
    silent = pinger()
    for k in range(1000):
        silent.due(k * S)
    assert len(silent._pending) <= 1 + PING_LOST_NS // PING_PERIOD_NS


def test_a_jump_of_the_peers_clock_is_told_once_and_the_map_starts_anew():
    peer = pinger()
    for k in range(20):
        exchange(peer, k * S)
    day_ns = 86_400 * S
    exchange(peer, 20 * S, day_ns)
    assert peer.take_jump() is None, "one odd exchange may be wrong"
    exchange(peer, 21 * S, day_ns)
    jump = peer.take_jump()
    assert abs(jump.jump_ns - day_ns) <= jump.within_ns < 1_000_000 and peer.take_jump() is None
    assert len(peer.clock.exchanges) == 2
    knot = peer.knot()
    assert abs(knot.host_ns - (21 * S + 100_000)) <= knot.bound_ns


def test_a_clock_that_jumps_back_is_told_too():
    peer = pinger()
    for k in range(20):
        exchange(peer, k * S)
    exchange(peer, 20 * S, -5 * S)
    exchange(peer, 21 * S, -5 * S)
    jump = peer.take_jump()
    assert abs(jump.jump_ns + 5 * S) <= jump.within_ns < 1_000_000


def test_the_size_of_a_jump_is_known_within_its_bound_however_late_the_pings_were():
    for seed in range(200):
        rng = random.Random(seed)
        peer, true_ns, rate = pinger(), rng.choice([-1, 1]) * rng.randrange(300 * S), 1 + rng.uniform(-50e-6, 50e-6)
        for k in range(12):
            t1_ns = k * S + rng.randrange(S // 50)
            nonce = peer.due(t1_ns)
            there, asleep, back = (rng.randrange(1 + rng.choice([300_000, 200_000_000])) for _ in range(3))
            ahead_ns = true_ns if k >= 9 else 0
            t2_ns, t3_ns = (round(t * rate) + ahead_ns for t in (t1_ns + there, t1_ns + there + asleep))
            peer.answer(nonce, t2_ns, t3_ns, t1_ns + there + asleep + back)
        jump = peer.take_jump()
        assert jump is not None and abs(jump.jump_ns - true_ns) <= jump.within_ns < S


def test_one_wrong_exchange_among_good_ones_is_refused_and_no_jump():
    peer = pinger()
    for k in range(20):
        exchange(peer, k * S, ahead_ns=300 * S if k == 10 else 0)
    assert peer.take_jump() is None and peer.clock.refused == 1 and len(peer.clock.exchanges) == 19


def test_after_a_restart_nothing_of_before_counts():
    peer = pinger()
    nonce = peer.due(0)
    peer.restart()
    assert peer.answer(nonce, 1, 2, 1000) is None and peer.bound_ns() is None
    assert peer.due(1) is not None
