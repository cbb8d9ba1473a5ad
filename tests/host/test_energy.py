"""Joules in a window against the closed form of the power that made them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_protocol import messages
from epid.analysis.metering.energy import Window, chains_ratio, energy_in
from epid.analysis.metering.idle import idle_power
from epid.analysis.timeline.run import BoardRecord
from epid.analysis.timeline.timeline import meter_track
from epid.clocks import ClockEstimator, Exchange
from fakes import board

S = 1_000_000_000


def track_of(payloads, boots=(board.BOOT,)):
    record = BoardRecord("b", board.description())
    record.payloads = list(payloads)
    for boot in boots:
        record.clocks[boot] = ClockEstimator()
        for k in range(200):
            record.clocks[boot].add(Exchange(k * S, k * S + 10_000, k * S + 20_000, k * S + 30_000))
    return meter_track(record, 0)


def constant_track(p_w, seconds=60, phase_j=0.0):
    return track_of(payload for _us, payload in board.stream(seconds, lambda t: p_w, joules_at=lambda t: phase_j + p_w * t))


@settings(deadline=None, max_examples=25)
@given(p_w=st.floats(0, 300), begin=st.floats(0.1, 30), length=st.floats(0.1, 25), phase_j=st.floats(0, 5))
def test_energy_of_a_constant_load_is_power_times_time_within_the_stated_bound(p_w, begin, length, phase_j):
    window = Window(int(begin * S), int((begin + length) * S))
    energy = energy_in(constant_track(p_w, phase_j=phase_j), [window])
    # Between two samples the counter is taken to rise evenly; the load's own steps of one tick are in `within_j`.
    assert abs(energy.joules - p_w * length) <= energy.within_j + p_w * 0.05 * 0.02 + 1e-6


def test_energies_of_adjacent_windows_add_up_to_the_whole():
    track = constant_track(7.3)
    parts = [Window(k * S, (k + 3) * S) for k in range(5, 50, 3)]
    whole = energy_in(track, [Window(parts[0].begin_ns, parts[-1].end_ns)])
    assert sum(energy_in(track, [part]).joules for part in parts) == pytest.approx(whole.joules, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(p_w=st.floats(0.5, 12), phase_j=st.floats(0, 1))
def test_idle_power_resolves_far_less_than_one_step_of_the_counter(p_w, phase_j):
    idle = idle_power(constant_track(p_w, phase_j=phase_j), [Window(5 * S, 15 * S), Window(40 * S, 50 * S)])
    assert idle.watts == pytest.approx(p_w, abs=max(0.02, 3 * idle.sem_w))
    assert idle.sem_w < 0.02 or abs(p_w * 0.05 / 0.36 * 12 % 1 - 0.5) > 0.4, "only steps in time with the samples resolve less"
    assert idle.seconds == pytest.approx(20.0)


def test_a_boot_id_that_ends_in_zeros_places_its_samples_like_any_other():
    boot = b"\x01\x00\x00\x00"
    payloads = (board.sample(seq, seq * 50_000, [5.0, 0, 0, 0], [0.0] * 4, boot_id=boot) for seq in range(200))
    track = track_of(payloads, boots=(boot,))
    assert np.ptp(track.host_ns) > 9 * S


def test_without_idle_the_power_is_missing_and_not_zero():
    assert np.isnan(idle_power(constant_track(5), []).watts)


def test_lost_frames_cost_no_energy():
    frames = [payload for _us, payload in board.stream(60, lambda t: 6.0, joules_at=lambda t: 6.0 * t)]
    track = track_of(frames[:300] + frames[420:])
    assert track.lost.sum() == 120
    assert energy_in(track, [Window(10 * S, 50 * S)]).joules == pytest.approx(240, abs=0.36)
    assert np.isnan(chains_ratio(track, Window(1 * S, 59 * S)))


@pytest.mark.parametrize("change", ["reboot", "reinit", "unknown", "absent"])
def test_energy_that_cannot_be_known_is_missing_and_says_why(change):
    other = b"\x07\x07\x07\x07"
    fields = {
        "reboot": {"boot_id": other},
        "reinit": {"flags": messages.flag("REINIT")},
        "unknown": {"unknown": 1},
        "absent": {"flags": messages.flag("ABSENT")},
    }[change]
    frames = [payload for _us, payload in board.stream(20, lambda t: 6.0)]
    late = [
        board.sample(400 + k, 20_000_000 + 50_000 * k, [6.0, 0, 0, 0], [120.0 + 0.3 * k, 0, 0, 0], **fields) for k in range(400)
    ]
    track = track_of([*frames, *late], boots=(board.BOOT, other))
    energy = energy_in(track, [Window(15 * S, 25 * S)])
    assert np.isnan(energy.joules)
    assert energy.fault == (
        "the meter restarted inside it" if change == "reboot" else "the meter lost an energy reading inside it"
    )
    assert not energy_in(track, [Window(5 * S, 15 * S)]).fault


def test_a_window_outside_the_record_is_missing():
    energy = energy_in(constant_track(5, seconds=10), [Window(5 * S, 15 * S)])
    assert np.isnan(energy.joules) and energy.fault == "the meter's record does not cover it"


def test_both_chains_agree_where_the_load_is_what_both_say():
    assert chains_ratio(constant_track(8.0), Window(1 * S, 59 * S)) == pytest.approx(1, abs=0.002)
    doubled = track_of(payload for _us, payload in board.stream(60, lambda t: 8.0, joules_at=lambda t: 4.0 * t))
    assert chains_ratio(doubled, Window(1 * S, 59 * S)) == pytest.approx(0.5, abs=0.002)


def test_an_invalid_reading_is_missing_in_the_trace():
    bad = board.sample(5, 250_000, [6.0] * 4, [0.0] * 4, flags=messages.flag("MEASURE_INVALID"))
    track = track_of([*(payload for _us, payload in board.stream(0.25, lambda t: 6.0)), bad])
    assert np.isnan(track.p_w[5]) and np.isfinite(track.p_w[:5]).all()
