"""A disk that fills up: warned early, ambient recording first, runs last and whole."""

import os
import time
from dataclasses import dataclass

import pytest

from epid.analysis.timeline.run import load_run
from epid.daemon.disk import Disk, Room
from epid.daemon.disk_guard import DiskGuard
from epid.daemon.recorder import Recorder
from epid.errors import RunFileError
from epid.record.listing import list_runs
from fakes import board

MIB = 1 << 20
RUN = "ab12cd34ef56ab12"


@dataclass
class FakeDisk:
    """What statvfs would say."""

    free: int
    f_frsize: int = 4096

    @property
    def f_bavail(self):
        return self.free // self.f_frsize


@pytest.fixture
def world(tmp_path):
    seen = FakeDisk(100_000 * MIB)
    recorder = Recorder(tmp_path, {"pi0": "0"}, Disk(tmp_path, 64 * MIB, lambda _path: seen), ambient_hours=1)
    said = []
    yield seen, recorder, DiskGuard(recorder, said.append), said
    recorder.ambient.pause()


def samples(recorder, first, n):
    for seq in range(first, first + n):
        payload = board.sample(seq, seq * 50_000, [6.0] * 4, [0.0] * 4)
        recorder.board("/board/b/sample", seq * 50_000_000, {"payload": payload})


def test_warned_first_then_ambient_stops_then_runs_end_whole(world, tmp_path):
    seen, recorder, guard, said = world
    recorder.board("/board/b/hello", 0, {"payload": board.hello()}, hello=True)
    samples(recorder, 0, 50)
    assert guard.look(0) == [] and said == []
    seen.free = 900 * MIB
    assert guard.look(1) == [] and guard.room is Room.LOW and "only 900 MiB are free" in said[-1]
    guard.look(2)
    assert len(said) == 1, "said once"
    samples(recorder, 50, 10)
    assert recorder.ambient.failure == ""
    seen.free = 200 * MIB
    guard.look(3)
    assert guard.room is Room.SHED and recorder.ambient.failure and "the ambient recording stops" in said[-1]
    run = recorder.open("pi0", {"run": RUN, "label": "x"}, 4_000_000_000)
    samples(recorder, 80, 20)
    seen.free = 60 * MIB
    (closed,) = guard.look(5_000_000_000)
    assert closed.run is run and closed.status == "aborted: the disk is nearly full"
    found = load_run(run.writer.path)
    assert found.end["status"] == closed.status and not found.damage
    with pytest.raises(RunFileError, match="only 60 MiB are free"):
        recorder.open("pi0", {"run": RUN, "label": "x"}, 6)
    seen.free = 100_000 * MIB
    guard.look(7)
    assert recorder.ambient.failure == "" and "again" in said[-1]


def test_ambient_records_between_runs_and_is_listed(world, tmp_path):
    _seen, recorder, _guard, _said = world
    recorder.board("/board/b/hello", 0, {"payload": board.hello()}, hello=True)
    samples(recorder, 0, 100)
    run = recorder.open("pi0", {"run": RUN, "label": "x"}, 100 * 50_000_000)
    samples(recorder, 100, 100)
    recorder.close(run, "complete")
    samples(recorder, 200, 100)
    recorder.ambient.pause()
    before, after = sorted((tmp_path / "ambient").glob("*.mcap"))
    assert len(load_run(before).boards["b"].payloads) == 100
    assert len(load_run(after).boards["b"].payloads) == 100 + 60, "the last three seconds of the run stand in both"
    assert load_run(after).boards["b"].description["board_id"]
    assert sorted(entry["label"] for entry in list_runs(tmp_path)) == ["ambient", "ambient", "x"]


def test_ambient_begins_a_file_each_hour_and_forgets_the_old_ones(world, tmp_path):

    _seen, recorder, _guard, _said = world
    for k in range(0, 10_000, 60):
        recorder.board("/board/b/sample", k * 1_000_000_000, {"payload": b""})
        recorder.ambient.due(k * 1_000_000_000)
    recorder.ambient.pause()
    files = sorted((tmp_path / "ambient").glob("*.mcap"))
    assert len(files) == 3
    os.utime(files[0], (time.time() - 3700, time.time() - 3700))
    samples(recorder, 10**6, 2)
    assert not files[0].exists() and files[1].exists()


def test_a_failure_of_the_ambient_recording_is_no_failure_of_a_run(world, tmp_path):
    _seen, recorder, _guard, _said = world
    (tmp_path / "ambient").write_text("in the way")
    samples(recorder, 0, 5)
    assert "cannot start the run file" in recorder.ambient.failure
    run = recorder.open("pi0", {"run": RUN, "label": "x"}, 10)
    samples(recorder, 5, 5)
    assert not recorder.failed
    recorder.close(run, "complete")


def test_a_folder_that_is_not_there_yet_is_measured_where_it_will_be(tmp_path):
    assert Disk(tmp_path / "a" / "b").free_bytes() > 0
