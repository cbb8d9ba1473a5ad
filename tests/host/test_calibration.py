"""Gains that are known better after a run was recorded: put on at reading, for the right meter in the right state."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from epi_protocol import messages
from epi_tools.calibrate.export import write_export
from epi_tools.calibrate.outcome import Outcome, Seen
from epi_tools.calibrate.registers import Registers
from epi_tools.calibrate.solve import Errors
from epid.analysis.metering.calibration import calibrated_track, corrected, load_corrections
from epid.analysis.metering.energy import Window, energy_in
from epid.analysis.timeline.run import BoardRecord
from epid.analysis.timeline.timeline import meter_track
from epid.cli import main
from epid.clocks import ClockEstimator, Exchange
from epid.errors import RunFileError, UsageError
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter
from fakes import board, node

S = 1_000_000_000
BOARD = "e660123456789abc"
OLD = {"gain_ppm": 13_000, "within_ppm": 500, "utc": "2026-01-02", "celsius": 21}
NEW = {"gain_ppm": -800, "within_ppm": 400, "utc": "2026-03-04", "phase_mdeg": 90}
REGISTERS = Registers(0, 0, 30_000, 4167, 0, 0, 0, 0, 10_737)


def export(path, old=None, new=None, found=0.013, left=0.0002, board_id=BOARD, channel=0):
    """A file as `epi calibrate --export` writes it."""
    before = Seen(energy=found, power=found + 0.001)
    after = Seen(energy=left, power=left) if new else None
    residual = Errors(left, 2e-4) if new else None
    outcome = Outcome(
        board_id, True, channel, "pi1", "2026-03-04", "", ("gain",), ("phase",), bool(new), "", Errors(found, 2.5e-4), residual,
        before, after, REGISTERS, REGISTERS, 200, old, new, False,
    )  # fmt: skip
    write_export(path, outcome)
    return path


def board_record(record=None):
    description = board.description()
    if record:
        description["channels"][0]["calibration"] = record
    found = BoardRecord(BOARD, description)
    found.payloads = [payload for _us, payload in board.stream(30, lambda _t: 10.13, joules_at=lambda t: 10.13 * t)]
    found.clocks[board.BOOT] = ClockEstimator()
    for k in range(40):
        found.clocks[board.BOOT].add(Exchange(k * S, k * S + 10_000, k * S + 20_000, k * S + 30_000))
    return found


@pytest.fixture
def file(tmp_path):
    return export(tmp_path / "calibration.json", old=None, new=NEW)


def test_an_old_run_gets_the_gain_that_was_found_later(file):
    record = board_record()
    track, correction = calibrated_track(record, 0, load_corrections(file))
    plain = meter_track(record, 0)
    assert correction.energy == pytest.approx(1 / 1.013) and correction.within == pytest.approx(5e-4)
    assert energy_in(track, [Window(5 * S, 25 * S)]).joules == pytest.approx(200, abs=0.4)
    assert np.nanmean(track.p_w) == pytest.approx(np.nanmean(plain.p_w) / 1.014)
    assert track.quantum_j == pytest.approx(plain.quantum_j / 1.013)
    assert (track.host_ns == plain.host_ns).all() and (track.flags == plain.flags).all()


def test_a_run_made_after_the_calibration_gets_what_was_left(file):
    _track, correction = calibrated_track(board_record(NEW), 0, load_corrections(file))
    assert correction.energy == pytest.approx(1 / 1.0002)


def test_a_temperature_in_other_digits_is_the_same_calibration(tmp_path):
    path = export(tmp_path / "c.json", old=OLD, new=NEW)
    _track, correction = calibrated_track(board_record(OLD | {"celsius": 21.000001}), 0, load_corrections(path))
    assert correction.energy == pytest.approx(1 / 1.013)


def test_a_run_in_another_state_is_refused(file):
    with pytest.raises(
        RunFileError, match=r"as it was before it was calibrated, and this run was made with it calibrated on 2026-01-02"
    ):
        calibrated_track(board_record(OLD), 0, load_corrections(file))


def test_other_channels_and_other_boards_are_left_alone(tmp_path, file):
    assert calibrated_track(board_record(), 1, load_corrections(file))[1] is None
    other = load_corrections(export(tmp_path / "other.json", board_id="e66ffffffffffff0"))
    track, correction = calibrated_track(board_record(), 0, other)
    assert correction is None and track.quantum_j == board.QUANTUM_J


def test_without_a_file_nothing_changes():
    assert calibrated_track(board_record(), 0, None)[1] is None


def test_a_file_grows_channel_by_channel(file):
    export(file, found=-0.02, channel=2)
    corrections = load_corrections(file)
    assert calibrated_track(board_record(), 0, corrections)[1].energy == pytest.approx(1 / 1.013)
    assert calibrated_track(board_record(), 2, corrections)[1].energy == pytest.approx(1 / 0.98)


@settings(deadline=None, max_examples=20)
@given(energy=st.floats(0.5, 2), power=st.floats(0.5, 2))
def test_a_correction_is_a_factor_and_its_inverse_undoes_it(energy, power):
    from epid.analysis.metering.calibration import Correction

    track = meter_track(board_record(), 0)
    there = corrected(track, Correction(energy, power, 0.0, math.nan, "2026-01-02"))
    back = corrected(there, Correction(1 / energy, 1 / power, 0.0, math.nan, "2026-01-02"))
    np.testing.assert_allclose(back.energy_j, track.energy_j, rtol=1e-12)
    np.testing.assert_allclose(back.p_w, track.p_w, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no calibration file"),
        ("[]", "is no calibration file"),
        ('{"format": "epi-calibration", "version": 9}', "is of format epi-calibration 9"),
        (
            '{"format": "epi-calibration", "version": 1, "board_id": "b", "channels": {"0": {"utc": "", "states": [{}]}}}',
            "is no cal",
        ),
        (
            '{"format": "epi-calibration", "version": 1, "board_id": "b", "channels": {"0": {"utc": "", "states": ['
            '{"calibration": null, "energy_correction": 0, "power_correction": 1, "within": 0, "lag_deg": null}]}}}',
            "is no calibration file",
        ),
    ],
)
def test_a_file_that_is_none_is_a_sentence(tmp_path, text, says):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_corrections(path)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="cannot read the calibration"):
        load_corrections(tmp_path / "nothing.json")


def test_the_report_applies_it_and_says_so(tmp_path, file):
    run = write_run(tmp_path / "r.mcap")
    plain = report(run)
    better = report(run, "--calibration", str(file))
    corrected, raw = ([one["decode"]["per_token_j"]["value"], one["idle"]["watts"]] for one in (better, plain))
    assert corrected == pytest.approx([value / 1.013 for value in raw], rel=1e-9)
    assert better["channels"][0]["energy_j"] == pytest.approx(plain["channels"][0]["energy_j"] / 1.013, rel=1e-9)
    assert any("energy × 0.98717 ± 0.00049" in line for line in better["warnings"])
    assert not any("energy ×" in line for line in plain["warnings"])


def test_a_lag_that_reading_cannot_mend_is_said(tmp_path):
    path = tmp_path / "c.json"
    export(path)
    content = json.loads(path.read_text())
    content["channels"]["0"]["states"][0]["lag_deg"] = 0.8
    path.write_text(json.dumps(content))
    better = report(write_run(tmp_path / "r.mcap"), "--calibration", str(path))
    assert any("lagged by +0.80 degrees" in line and "+1.40%" in line for line in better["warnings"])


def test_the_report_refuses_a_file_for_another_state(tmp_path):
    path = export(tmp_path / "c.json", old=OLD)
    done = CliRunner().invoke(main, ["report", str(write_run(tmp_path / "r.mcap")), "--calibration", str(path)])
    assert done.exit_code == 4 and "calibrated on 2026-01-02" in done.output and "Traceback" not in done.output


def report(run, *options):
    done = CliRunner().invoke(main, ["report", str(run), "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["runs"][0]


def write_run(path):
    """Six seconds idle, eight of decoding, six idle; all at powers that the meter reads 1.3 % high."""
    from epi_protocol import events

    writer = RunWriter(path, {"run": "ab12cd34", "label": "old", "node": "pi0", "channel": "0", "utc": "2026-01-02T03:04"}, "t")
    writer.write(board_topic(BOARD, "hello"), 0, {"host_ns": 0, "payload": messages.pack_hello(board.BOOT, board.description())})
    for k in range(22):
        stamps = {"t1_ns": k * S, "t2_us": k * 1_000_000 + 10, "t3_us": k * 1_000_000 + 20, "t4_ns": k * S + 30_000}
        writer.write(board_topic(BOARD, "clock"), k * S, {"boot_id": board.BOOT, "nonce": b"", **stamps})
    for board_us, payload in board.stream(21, lambda t: 10.13 if 6 <= t < 14 else 3.5, joules_at=_joules):
        writer.write(board_topic(BOARD, "sample"), board_us * 1000, {"host_ns": board_us * 1000, "payload": payload})
    writer.write(node_topic("pi0", "hello"), 1, {"host_ns": 1, "body": {"session": "s", "engine": "fake"}})
    begin = {"run": "ab12cd34", "model": {"name": "m.gguf"}, "settings": {"tokens": 100}}
    writer.write(node_topic("pi0", "run"), 1, {"host_ns": 1, "kind": "run_begin", "body": begin})
    for k in range(5):
        stamps = {"t1_ns": k * 3 * S, "t2_ns": k * 3 * S + 40_000, "t3_ns": k * 3 * S + 50_000, "t4_ns": k * 3 * S + 90_000}
        writer.write(node_topic("pi0", "clock"), k, {"session": "s", "nonce": b"", **stamps})
    decode = events.KIND["decode"]
    rows = [
        {"begin_ns": S // 2, "end_ns": 6 * S, "kind": events.KIND["idle"]},
        {"begin_ns": 14 * S, "end_ns": 20 * S, "kind": events.KIND["idle"]},
        {"begin_ns": 6 * S, "end_ns": 14 * S, "kind": decode, "phase": decode, "request": 0, "count": 100},
    ]
    writer.write(node_topic("pi0", "spans"), 2, {"host_ns": 2, "body": node.spans(rows, run="ab12cd34")})
    writer.close({"status": "complete"})
    return path


def _joules(t):
    return 3.5 * t + 6.63 * min(max(t - 6, 0), 8)
