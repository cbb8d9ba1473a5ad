"""Idle watts of a node whose power wanders slowly: the mean over the spans, not over what a straight line weighs most."""

import numpy as np
import pytest

from epid.analysis.metering.energy import Window
from epid.analysis.metering.idle import Averaging, idle_power
from fakes.profile import Profile, S, metered

WINDOWS = [Window(2 * S, 7 * S), Window(20 * S, 26 * S)]


def wandering(rng, sd_w=0.1, over_s=1.0):
    """An Ornstein-Uhlenbeck course of 30 s in steps of 0.1 s."""
    stays = np.exp(-0.1 / over_s)
    wander = [rng.normal(0, sd_w)]
    for _step in range(299):
        wander.append(stays * wander[-1] + rng.normal(0, sd_w * np.sqrt(1 - stays**2)))
    return Profile(np.arange(301) * 0.1, rng.uniform(3, 4) + np.array(wander))


def true_w(profile):
    seconds = [(window.begin_ns / S, window.end_ns / S) for window in WINDOWS]
    return sum(profile.joules(*each) for each in seconds) / sum(end - begin for begin, end in seconds)


def errors(runs, averaging, **course):
    rng, found = np.random.default_rng(17), []
    for _run in range(runs):
        profile = wandering(rng, **course)
        idle = idle_power(metered(profile, rng), WINDOWS, averaging)
        found.append((idle.watts - true_w(profile), idle.sem_w))
    return np.array(found)


@pytest.mark.parametrize("over_s", [0.2, 2.0])
def test_the_interval_holds_the_mean_over_the_spans_however_slowly_power_wanders(over_s):
    found = errors(250, Averaging(0.16, 0.32), over_s=over_s)
    assert 0.91 <= np.mean(np.abs(found[:, 0]) < 1.96 * found[:, 1]) <= 0.99
    assert np.std(found[:, 0] / found[:, 1]) == pytest.approx(1, abs=0.15)


def test_the_readings_of_p_take_most_of_the_wandering_out():
    with_p = errors(120, Averaging(0.16, 0.32), sd_w=0.3, over_s=2.0)[:, 0].std()
    without = errors(120, Averaging(0.16, 60.0), sd_w=0.3, over_s=2.0)[:, 0].std()
    assert with_p < 0.6 * without


def test_a_gain_of_p_that_differs_from_the_registers_does_not_move_the_level():
    rng = np.random.default_rng(3)
    profile = Profile(np.array([0.0, 30.0]), np.array([3.5]))
    track = metered(profile, rng)
    track.p_w[:] *= 1.05
    assert idle_power(track, WINDOWS, Averaging(0.16, 0.32)).watts == pytest.approx(3.5, abs=0.03)


def test_spans_too_short_for_a_level_of_their_own_widen_the_interval():
    profile = wandering(np.random.default_rng(5))
    track = metered(profile, np.random.default_rng(6))
    plain, more = (idle_power(track, windows) for windows in (WINDOWS, [*WINDOWS, Window(10 * S, 10 * S + 400_000_000)]))
    assert more.watts == plain.watts and more.seconds == plain.seconds and more.sem_w > plain.sem_w
