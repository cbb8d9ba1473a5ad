"""The lag of the meter's power, found from a load pattern and held against the chip model's own averaging window."""

import json
import random

import numpy as np
import pytest
from click.testing import CliRunner

from epi_protocol import events
from epi_tools.chip import ChipTiming
from epid.analysis.lag.lag import Lag, find_lag, lag_of
from epid.analysis.lag.lag_file import lag_path
from epid.analysis.timeline.run import load_run
from epid.analysis.timeline.timeline import MeterTrack, SpanTable, meter_track
from epid.cli import main
from epid.errors import RunFileError
from fakes.load import QUANTUM_J, load_of, meter, play, two_patterns
from fakes.pattern_run import write_pattern_run

MS = 1_000_000


def span_table_of(spans):
    columns = {name: np.zeros(len(spans), f"<{code}") for name, code, _meaning in events.COLUMNS}
    columns["begin_ns"] = np.array([span.begin_ns for span in spans])
    columns["end_ns"] = np.array([span.end_ns for span in spans])
    columns["kind"] = np.array([events.KIND[span.kind] for span in spans])
    return SpanTable(columns, bound_ns=1e5, dropped=0)


def track_of(readings, hz):
    n = len(readings)
    zero, ones = np.zeros(n), np.ones(n)
    return MeterTrack(
        board_id="b",
        channel=0,
        name="pi0",
        simulated=True,
        quantum_j=QUANTUM_J,
        sample_hz=hz,
        host_ns=np.array([reading.host_ns for reading in readings]),
        bound_ns=ones * 1e5,
        p_w=np.array([reading.p_w for reading in readings]),
        u_v=zero,
        i_a=zero,
        energy_j=np.array([reading.ticks for reading in readings]) * QUANTUM_J,
        segment=np.zeros(n, int),
        lost=np.zeros(n, int),
        flags=np.zeros(n, int),
        unknown=np.zeros(n, int),
        dropped=0,
    )


def world(refresh_ms=40, window_ms=320, hz=20.0, seed=0, late_ms=0, seconds=20.0):
    spans = two_patterns(random.Random(seed), seconds)
    timing = ChipTiming(refresh_ns=int(refresh_ms * MS), window_ns=int(window_ms * MS))
    readings = meter(load_of(spans, late_ms * MS), spans[-1].end_ns + 2000 * MS, timing, hz, seed)
    age_s = float(np.mean([reading.age_ns for reading in readings])) / 1e9
    return track_of(readings, hz), span_table_of(spans), age_s + window_ms / 2e3


@pytest.mark.parametrize(
    ("refresh_ms", "window_ms", "hz"),
    [(40, 320, 20.0), (10, 320, 20.0), (100, 500, 20.0), (20, 20, 20.0), (40, 160, 50.0), (20, 200, 33.0)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_chips_window_and_its_age_are_found_within_five_milliseconds(refresh_ms, window_ms, hz, seed):
    # Registers that are renewed every refresh period are half of one old on average when they are read. Where the period is a
    # multiple of the sampling period, it depends on the phase.
    track, spans, true_centre_s = world(refresh_ms, window_ms, hz, seed)
    found = find_lag(track, spans)
    assert abs(found.lag.centre_s - true_centre_s) < 0.005
    assert found.lag.within_s < 0.006
    assert abs(found.lag.window_s - window_ms / 1e3) < max(0.008, refresh_ms / 8e3)
    assert found.shape == "boxcar"
    assert found.response.centre_s == pytest.approx(true_centre_s, abs=0.006)
    assert found.response.taps.sum() == pytest.approx(1) and found.response.taps.min() >= 0


def test_the_stated_interval_holds_as_often_as_it_says():
    missed = 0
    for seed in range(6):
        track, spans, true_centre_s = world(seed=seed, seconds=12.0)
        found = find_lag(track, spans)
        missed += abs(found.lag.centre_s - true_centre_s) > found.lag.within_s
    assert missed <= 2, "6 intervals of 95 %: more than 2 misses come once in 400 times"


def test_the_energy_registers_find_the_same_lag_and_the_loads_own():
    track, spans, true_centre_s = world(late_ms=30, seed=3)
    found = find_lag(track, spans)
    assert found.registers.value == pytest.approx(0.020, abs=found.registers.within + 0.002)
    assert found.load.value == pytest.approx(0.030, abs=found.load.within + 0.002)
    assert found.lag.centre_s == pytest.approx(true_centre_s + 0.030, abs=0.005)
    assert found.closes is True


def test_a_load_that_follows_slowly_is_told_by_the_free_shape():
    spans = two_patterns(random.Random(5))
    track, table, _truth = world(seed=5)
    at_s = np.arange(0, track.host_ns[-1] / 1e9 + 1, 0.001)
    edges, level = [], []
    for end_ns, watts in load_of(spans).pieces(0, int(at_s[-1] * 1e9) + MS):
        edges.append(end_ns / 1e9)
        level.append(watts)
    power = np.array(level)[np.searchsorted(edges, at_s + 1e-9)]
    slow = np.empty_like(power)
    slow[0], keep = power[0], np.exp(-0.001 / 0.08)
    for k in range(1, len(power)):
        slow[k] = keep * slow[k - 1] + (1 - keep) * power[k]
    total_j = np.concatenate([[0], np.cumsum(slow) * 0.001])
    read_s = track.host_ns / 1e9
    counted_j = np.interp(read_s, np.append(at_s, at_s[-1] + 0.001), total_j)
    earlier_j = np.interp(read_s - 0.3, np.append(at_s, at_s[-1] + 0.001), total_j)
    p_w = (counted_j - earlier_j) / 0.3 + np.random.default_rng(0).normal(0, 0.02, len(read_s))
    changed = {name: getattr(track, name) for name in MeterTrack.__dataclass_fields__} | {"p_w": p_w, "energy_j": counted_j}
    found = find_lag(MeterTrack(**changed), table)
    assert found.shape == "response"
    assert found.lag.centre_s == pytest.approx(0.150 + 0.080, abs=0.005)


def test_a_missing_energy_reading_leaves_the_registers_unknown_and_the_lag_found():
    track, spans, true_centre_s = world(seed=4)
    track.energy_j[200] = np.nan
    found = find_lag(track, spans)
    assert np.isnan(found.registers.value) and np.isnan(found.lag.load_s) and found.closes is None
    assert found.lag.centre_s == pytest.approx(true_centre_s, abs=0.005)
    assert json.loads(json.dumps(found.to_map(), allow_nan=False))["registers"]["delay_s"] is None


def test_many_short_patterns_tell_the_lag_too():
    rng, spans, begin_ns = random.Random(2), [], 3_000 * MS
    for _ in range(6):
        spans += play(rng, begin_ns, 6.0)
        begin_ns = spans[-1].end_ns + 2000 * MS
    readings = meter(load_of(spans), spans[-1].end_ns + 1000 * MS, ChipTiming(), 20.0, 2)
    found = find_lag(track_of(readings, 20.0), span_table_of(spans))
    assert found.lag.centre_s == pytest.approx(0.180, abs=0.010)


def test_lost_frames_leave_the_registers_unknown():
    track, spans, true_centre_s = world(seed=6)
    track.lost[300] = 2
    found = find_lag(track, spans)
    assert found.closes is None and found.lag.centre_s == pytest.approx(true_centre_s, abs=0.005)


def test_without_a_pattern_there_is_no_lag():
    track, spans, _truth = world(seconds=3.0)
    nothing = {name: column[:0] for name, column in spans.columns.items()}
    assert find_lag(track, SpanTable(nothing, 1e5, 0)) is None
    few = {name: column[:10] for name, column in spans.columns.items()}
    assert find_lag(track, SpanTable(few, 1e5, 0)) is None


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run file with a pattern in it, as the daemon would have written it."""
    spans = two_patterns(random.Random(9), 10.0)
    readings = meter(load_of(spans), spans[-1].end_ns + 1000 * MS, ChipTiming(), 20.0, 9)
    return write_pattern_run(tmp_path_factory.mktemp("lag") / "a.mcap", spans, readings)


def epid(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_prints_draws_and_keeps_the_lag(recorded, tmp_path):
    assert "(simulated)" in epid("lag", recorded).stdout
    figure = tmp_path / "lag.svg"
    found = json.loads(epid("lag", recorded, "--json", "--save", "--figure", figure).stdout)
    assert found["simulated"] is True and abs(found["centre_s"] - 0.180) < 0.005
    assert "(simulated)" in figure.read_text()
    run = load_run(recorded)
    kept = lag_of(run, meter_track(run.boards["b"], 0))
    assert kept == Lag(found["delay_s"], found["window_s"], found["within_s"], found["load_s"])
    lag_path(recorded).unlink()
    assert lag_of(run, meter_track(run.boards["b"], 0)) == kept, "what is kept is what the run itself says"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no json", "holds no lag"),
        ('{"format": "epid-lag", "version": 9}', "understood is epid-lag 1"),
        ('{"format": "epid-lag", "version": 1, "run": "ffff", "board_id": "b"}', "the lag of another run"),
    ],
)
def test_a_wrong_file_beside_the_run_is_one_sentence(recorded, text, sentence):
    lag_path(recorded).write_text(text)
    run = load_run(recorded)
    with pytest.raises(RunFileError, match=sentence):
        lag_of(run, meter_track(run.boards["b"], 0))
    lag_path(recorded).unlink()


def test_what_cannot_be_done_is_one_sentence(recorded, tmp_path):
    done = epid("lag", recorded, "--figure", tmp_path / "lag.gif")
    assert done.exit_code == 2 and "must end in .png, .svg, .pdf" in done.stderr
    done = epid("lag", recorded, "--figure", tmp_path / "no" / "lag.png")
    assert done.exit_code == 2 and done.stderr.startswith("epid: cannot write")
    done = epid("lag", recorded, "--channel", "3")
    assert done.exit_code == 4 and "holds no load pattern that was metered" in done.stderr, "nothing hung on that channel"
