"""Marks of an outside instrument: stamped from a serial line, and held against a load pattern whose delay is known."""

import json
import os
import pty
import random
import subprocess
import tty

import pytest
from click.testing import CliRunner

from epi_tools.chip import ChipTiming
from epid.analysis.lag.lag import find_lag
from epid.analysis.timeline.run import load_run
from epid.analysis.timeline.timeline import meter_track, span_table
from epid.cli import main
from epid.clocks import host_now_ns
from epid.errors import RunFileError
from epid.lag_check import check_lag
from epid.marks import Mark, marks_of, read_marks, write_marks
from fakes.epid_serve import EPID, PATIENCE_S
from fakes.load import load_of, meter, two_patterns
from fakes.pattern_run import write_pattern_run

MS = 1_000_000
LATE_MS = 7
CLOCKS_S = 0.0002


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(run file, its spans): the load follows its spans LATE_MS later, which the energy registers have to find too."""
    spans = two_patterns(random.Random(4), 20.0)
    readings = meter(load_of(spans, LATE_MS * MS), spans[-1].end_ns + 1000 * MS, ChipTiming(), 20.0, 4)
    return write_pattern_run(tmp_path_factory.mktemp("marks") / "a.mcap", spans, readings), spans


def seen(spans, late_ms=LATE_MS, jitter_ms=1.0, seed=0, missed=0.1, made_up=5):
    """What an instrument would write down: some steps missed, some that were none."""
    rng = random.Random(seed)
    true = [Mark(span.begin_ns + round((late_ms + rng.gauss(0, jitter_ms)) * MS), int(span.kind == "burn")) for span in spans]
    invented = [Mark(rng.randrange(spans[0].begin_ns, spans[-1].end_ns), rng.randrange(2)) for _ in range(made_up)]
    return [mark for mark in true if rng.random() >= missed] + invented


def mark_file(path, marks):
    path.write_text("host_ns,level\n" + "".join(f"{mark.host_ns},{mark.level}\n" for mark in marks))
    return path


def lag(*arguments):
    return CliRunner().invoke(main, ["lag", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def fitted(recorded):
    """The lag as the run itself tells it."""
    run = load_run(recorded[0])
    fit = find_lag(meter_track(run.boards["b"], 0), span_table(run.node))
    assert fit is not None
    return fit


@pytest.mark.parametrize("seed", range(20))
def test_marks_tell_how_late_the_load_is_and_the_registers_say_the_same(recorded, fitted, seed):
    _run, spans = recorded
    found = check_lag(fitted, seen(spans, seed=seed), CLOCKS_S)
    assert abs(found.delay_s - LATE_MS / 1e3) <= found.within_s < 0.002
    assert found.agrees is True and abs(found.apart_s) < 0.02
    assert found.matched > 0.8 * len(spans) and found.matched <= found.marks <= found.edges + 5


@pytest.mark.parametrize("late_ms", [-50, 0, 90, 600])
def test_a_delay_of_any_size_is_found(recorded, fitted, late_ms):
    _run, spans = recorded
    found = check_lag(fitted, seen(spans, late_ms=late_ms, missed=0.4), CLOCKS_S)
    assert abs(found.delay_s - late_ms / 1e3) <= found.within_s < 0.002 and found.agrees is False


def test_marks_of_another_run_or_clock_are_refused(recorded, fitted):
    _run, spans = recorded
    other = seen(two_patterns(random.Random(99), 20.0))
    later = [Mark(mark.host_ns + 10**15, mark.level) for mark in seen(spans)]
    upside_down = [Mark(mark.host_ns, 1 - mark.level) for mark in seen(spans)]
    for marks in (other, later, upside_down, []):
        with pytest.raises(RunFileError, match=r"marks fit the \d+ steps of the load pattern: are they of this run"):
            check_lag(fitted, marks, CLOCKS_S)


def test_the_command_says_whether_instrument_and_registers_agree(recorded, tmp_path):
    run, spans = recorded
    done = lag(run, "--marks", mark_file(tmp_path / "m.csv", seen(spans)), "--json")
    found = json.loads(done.stdout)["marks"]
    assert abs(found["delay_s"] - LATE_MS / 1e3) <= found["within_s"] and found["agrees"] is True
    done = lag(run, "--marks", mark_file(tmp_path / "m.csv", seen(spans, late_ms=LATE_MS + 60)))
    assert done.exit_code == 0 and "it and the registers DISAGREE" in done.stdout and "(simulated)" in done.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "its first line is not host_ns,level"),
        ("time,x\n1,1\n", "its first line is not host_ns,level"),
        ("host_ns,level\n1,1\n2,5\n", "line 3: '2,5' is no stamp"),
        ("host_ns,level\n1.5,1\n", "line 2: '1.5,1' is no stamp"),
        ("host_ns,level\n1\n", "line 2: '1' is no stamp"),
    ],
)
def test_a_file_that_is_no_mark_file_names_the_line(tmp_path, text, sentence):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(RunFileError, match=sentence):
        read_marks(path)
    with pytest.raises(RunFileError, match="No such file"):
        read_marks(tmp_path / "none.csv")


def test_letters_become_marks_stamped_as_they_come(tmp_path):
    line, clock = iter([b"1", b"x\r\n", b"0", b"10", b""]), iter([10, 20, 30, 40])
    path, counted = tmp_path / "m.csv", []
    assert write_marks(path, marks_of(lambda: next(line), lambda: next(clock)), counted.append) == 4
    assert read_marks(path) == [Mark(10, 1), Mark(30, 0), Mark(40, 1), Mark(40, 0)] and counted == [1, 2, 3, 4]
    with pytest.raises(RunFileError, match="exists already"):
        write_marks(path, iter([]), counted.append)


def test_an_interrupted_recording_keeps_what_it_has(tmp_path):
    def breaks_off():
        yield Mark(1, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_marks(tmp_path / "m.csv", breaks_off(), lambda _count: None)
    assert read_marks(tmp_path / "m.csv") == [Mark(1, 1)]


def test_the_command_stamps_a_serial_line_with_the_daemons_clock(tmp_path):
    master, slave = pty.openpty()
    tty.setraw(slave)
    before_ns = host_now_ns()
    out = tmp_path / "m.csv"
    recording = subprocess.Popen([EPID, "marks", os.ttyname(slave), "--out", out], stderr=subprocess.PIPE, text=True)
    unfinished = tmp_path / "m.csv.part"
    for letter, lines in ((b"1", 2), (b"0", 3)):
        while not unfinished.exists() or unfinished.read_text().count("\n") < lines - 1:
            assert recording.poll() is None
        os.write(master, letter)
    while unfinished.exists() and unfinished.read_text().count("\n") < 3:
        assert recording.poll() is None
    recording.send_signal(2)
    assert recording.wait(PATIENCE_S) == 0, recording.stderr.read()
    recording.stderr.close()
    for end in (master, slave):
        os.close(end)
    rise, fall = read_marks(out)
    assert (rise.level, fall.level) == (1, 0) and before_ns < rise.host_ns < fall.host_ns < host_now_ns()


def test_no_port_is_one_sentence(tmp_path):
    done = CliRunner().invoke(main, ["marks", str(tmp_path / "ttyUSB9"), "--out", str(tmp_path / "m.csv")])
    assert done.exit_code == 3 and "there is no serial port" in done.stderr and list(tmp_path.iterdir()) == []
