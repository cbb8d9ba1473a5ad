"""Joules of phases and tokens: intervals against the exact integral of the power that was metered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epid.analysis.metering.energy import Window
from epid.analysis.metering.gain import Gain
from epid.analysis.metering.idle import Idle, idle_power
from epid.analysis.metering.occupancy import occupancy
from epid.analysis.metering.registers import LOST, registers_of
from epid.analysis.windows.tally import NO_IDLE, Tally
from fakes.profile import QUANTUM_J, Profile, S, metered, spans

GAIN_SD = 0.0005
IDLE = Idle(3.5, 0.002, 20.0)


def session(rng, requests=3, decode_s=4.0):
    """Idle, requests of prefill and decode with pauses between them, idle; powers drawn anew."""
    edges, watts, rows = [0.0], [], []

    def piece(kind, seconds, power_w, **more):
        begin_s = edges[-1]
        edges.append(begin_s + seconds)
        watts.append(power_w)
        if kind:
            rows.append((kind, begin_s, edges[-1], more))

    idle_w, prefill_w, decode_w = rng.uniform(3, 4), rng.uniform(8, 11), rng.uniform(7, 10)
    piece("idle", rng.uniform(5, 6), idle_w)
    for request in range(requests):
        piece("prefill", rng.uniform(0.2, 0.6), prefill_w, request=request, count=32)
        piece("decode", decode_s * rng.uniform(0.9, 1.1), decode_w * rng.uniform(0.98, 1.02), request=request, count=50)
        piece(None, rng.uniform(0.2, 0.5), idle_w)
    piece("idle", 5.0, idle_w)
    return Profile(np.array(edges), np.array(watts)), spans(rows)


def tallied(rng, **changes):
    profile, table = session(rng)
    track = metered(profile, rng, gain=1 + rng.normal(0, GAIN_SD), **changes)
    return profile, table, Tally(registers_of(track, table), Gain(GAIN_SD, 0.0, "drawn", True), IDLE)


def true_joules(profile, table, kind_number):
    columns = table.of_kind(kind_number)
    return float(profile.joules(columns["begin_ns"] / S, columns["end_ns"] / S).sum())


@pytest.mark.parametrize("kind", ["prefill", "decode"])
def test_intervals_of_95_percent_hold_the_truth_in_95_percent_of_the_runs(kind):
    from epi_protocol import events

    rng, held, errors = np.random.default_rng(11), [], []
    for _run in range(250):
        profile, table, tally = tallied(rng)
        found = tally.of(table, kind)
        truth = true_joules(profile, table, events.KIND[kind])
        held.append(found.total.holds(truth))
        errors.append((found.total.value - truth) / found.total.sd)
    assert np.mean(held) == pytest.approx(0.95, abs=0.041), "three standard errors of 250 runs"
    assert np.std(errors) == pytest.approx(1, abs=0.1)


def test_an_edge_from_idle_to_work_between_two_samples_is_not_biased():
    """Split by time alone, a second at 10 W between two at 3 W would come out about a tenth of a joule short."""
    rng, errors = np.random.default_rng(5), []
    for _run in range(300):
        profile = Profile(np.array([0, 10 + rng.uniform(0, 0.05), 11, 20]), np.array([3.0, 10.0, 3.0]))
        table = spans(
            [("idle", 0, profile.edges_s[1], {}), ("decode", *profile.edges_s[1:3], {"count": 1}), ("idle", 11, 20, {})]
        )
        tally = Tally(registers_of(metered(profile, rng), table), Gain(0.0, 0.0, "none", True), IDLE)
        errors.append(tally.of(table, "decode").total.value - profile.joules(*profile.edges_s[1:3]))
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors)) + 0.005


def test_net_is_gross_less_idle_and_missing_without_it():
    _profile, table, tally = tallied(np.random.default_rng(2))
    found = tally.of(table, "decode")
    assert found.total_net.value == pytest.approx(found.total.value - 3.5 * found.seconds)
    without = Tally(tally.registers, tally.gain, Idle(np.nan, np.nan, 0.0)).of(table, "decode")
    assert not without.total_net.known and without.total_net.reason == NO_IDLE and without.total.known


def test_a_request_in_which_energy_was_lost_is_left_out_and_said():
    rng = np.random.default_rng(3)
    profile, table = session(rng)
    track = metered(profile, rng)
    decode = table.of_kind(5)
    middle = int(np.searchsorted(track.host_ns, (decode["begin_ns"][1] + decode["end_ns"][1]) // 2))
    track.unknown[middle:] = 1
    found = Tally(registers_of(track, table), Gain(0.0, 0.0, "none", True), IDLE).of(table, "decode")
    assert found.spans == 2 and found.tokens == 100
    assert found.fault == f"1 of 3 decode spans left out: {LOST}"
    truth = profile.joules(decode["begin_ns"] / S, decode["end_ns"] / S)[[0, 2]].sum()
    assert found.total.value == pytest.approx(truth, abs=4 * found.total.sd)


def test_lost_frames_in_the_middle_of_decoding_widen_the_interval_and_cost_no_energy():
    rng = np.random.default_rng(4)
    profile, table = session(rng)
    decode_s = table.of_kind(5)["begin_ns"][1] / S
    whole = metered(profile, rng)
    kept = np.abs(whole.host_ns / S - decode_s) > 1.0
    names = ("host_ns", "bound_ns", "p_w", "u_v", "i_a", "energy_j", "segment", "lost", "flags", "unknown")
    gappy = type(whole)(
        **{name: getattr(whole, name)[kept] if name in names else getattr(whole, name) for name in whole.__slots__}
    )
    tallies = [Tally(registers_of(track, table), Gain(0.0, 0.0, "none", True), IDLE) for track in (whole, gappy)]
    fine, coarse = (tally.of(table, "decode") for tally in tallies)
    assert coarse.spans == 3 and coarse.budget.gaps > 10 * fine.budget.gaps
    assert coarse.total.holds(true_joules(profile, table, 5))


def test_the_median_token_of_short_tokens_is_not_a_multiple_of_the_registers_steps():
    rng = np.random.default_rng(6)
    profile = Profile(np.array([0.0, 40.0]), np.array([7.0]))
    rows = [("token", 2 + 0.02 * k, 2.02 + 0.02 * k, {"count": 1}) for k in range(1500)]
    tally = Tally(registers_of(metered(profile, rng), spans(rows)), Gain(0.0, 0.0, "none", True), IDLE)
    median = tally.of(spans(rows), "token").median
    assert median.value == pytest.approx(0.14, rel=0.01) and median.holds(0.14)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_idle_watts_hold_the_truth_within_four_standard_errors(seed):
    rng = np.random.default_rng(seed)
    edges = np.arange(0, 40.0, 0.1)
    wander = np.zeros(len(edges) - 1)
    for at in range(1, len(wander)):
        wander[at] = 0.8 * wander[at - 1] + rng.normal(0, 0.03)
    profile = Profile(edges, 3.5 + wander)
    idle = idle_power(metered(profile, rng, delay_s=0.0), [Window(2 * S, 18 * S), Window(20 * S, 38 * S)])
    truth = (profile.joules(2.7, 17.3) + profile.joules(20.7, 37.3)) / (14.6 + 16.6)
    assert abs(idle.watts - truth) < 4 * idle.sem_w + 1e-3 and idle.sem_w < 0.05


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_occupancy_is_the_overlap_of_every_span_with_every_interval(data):
    grid = np.array(sorted(data.draw(st.sets(st.integers(0, 1000), min_size=2, max_size=12))), dtype=np.int64)
    pairs = data.draw(st.lists(st.tuples(st.integers(-50, 1050), st.integers(0, 400), st.integers(0, 2)), max_size=20))
    begin = np.array([first for first, _length, _column in pairs], dtype=np.int64)
    end = begin + np.array([length for _first, length, _column in pairs], dtype=np.int64)
    column = np.array([column for _first, _length, column in pairs], dtype=np.int64)
    expected = np.zeros((len(grid) - 1, 3))
    for first, last, at in zip(begin, end, column, strict=True):
        for row in range(len(grid) - 1):
            expected[row, at] += max(0, min(last, grid[row + 1]) - max(first, grid[row])) / 1e9
    assert occupancy(grid, begin, end, column, 3) == pytest.approx(expected, abs=1e-15)


def test_a_step_of_the_registers_is_what_the_fakes_count_in():
    track = metered(Profile(np.array([0.0, 10.0]), np.array([7.0])), np.random.default_rng(0))
    assert np.allclose(track.energy_j / QUANTUM_J, np.round(track.energy_j / QUANTUM_J))
