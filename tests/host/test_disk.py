"""A disk that fills up: warned early, ambient recording first, runs last and whole."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from epid.analysis.timeline.run import load_run
from epid.daemon.disk import Disk, Room
from epid.daemon.disk_guard import DiskGuard
from epid.daemon.recorder import Recorder
from epid.daemon.service import Service, Settings
from epid.errors import RunFileError
from epid.record.listing import list_runs, recorded_ns
from epid.record.writer import RunWriter
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


HOUR_NS = 3_600_000_000_000


def record_ambient(recorder, hours, first=0, step_s=600):
    """Ten-minute steps of a meter between runs; returns the time behind the last one, hours."""
    for k in range(round(first * 3600), round((first + hours) * 3600) + 1, step_s):
        recorder.board("/board/b/sample", k * 1_000_000_000, {"payload": b""})
        recorder.ambient.due(k * 1_000_000_000)
    return first + hours


def ambient_files(folder):
    return sorted((folder / "ambient").glob("*.mcap"))


def test_ambient_keeps_the_newest_recorded_hours_whatever_the_clocks_say(world, tmp_path, monkeypatch):
    _seen, recorder, _guard, _said = world
    now_h = record_ambient(recorder, 1)
    recorder.ambient.pause()
    (first,) = ambient_files(tmp_path)
    for year in (2050, 1970, 2026):
        monkeypatch.setattr(time, "gmtime", lambda year=year: time.strptime(str(year), "%Y"))
        for path in ambient_files(tmp_path):
            os.utime(path, (0, 0))
        record_ambient(recorder, 0, now_h)  # a moment, and a run begins: a short file
        recorder.ambient.pause()
    assert len(ambient_files(tmp_path)) == 4 and first.exists(), "no hour has been recorded since"
    record_ambient(recorder, 1.2, now_h + 1)
    recorder.ambient.pause()
    record_ambient(recorder, 0, now_h + 3)
    assert not first.exists(), "an hour and more has been recorded since"
    numbers = [int(path.name.split("-")[1]) for path in ambient_files(tmp_path)]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 7


def test_ambient_files_go_on_counting_after_a_restart_and_a_crash(tmp_path):
    first = Recorder(tmp_path, {}, Disk(tmp_path), ambient_hours=1)
    record_ambient(first, 0.5)
    first.ambient._writer.abandon()  # what a killed daemon leaves
    (tmp_path / "ambient" / "ambient-20200101T000000Z-0000000000000000.mcap").write_bytes(b"of an older release, and damaged")
    second = Recorder(tmp_path, {}, Disk(tmp_path), ambient_hours=1)
    record_ambient(second, 0.4, 7)
    second.ambient.pause()
    assert [path.name[:14] for path in ambient_files(tmp_path)] == ["ambient-000001", "ambient-000002", "ambient-202001"]
    third = Recorder(tmp_path, {}, Disk(tmp_path), ambient_hours=0.5)
    record_ambient(third, 0.1, 9)
    third.ambient.pause()
    assert [path.name[:14] for path in ambient_files(tmp_path)] == ["ambient-000001", "ambient-000002", "ambient-000003"]


def test_the_length_of_a_file_is_known_whole_cut_and_damaged(tmp_path):
    writer = RunWriter(tmp_path / "a.mcap", {"run": "ab", "host_ns": str(5 * HOUR_NS)}, "test")
    writer.write("/board/b/hello", 1, {})  # said before the file began
    for second in range(60):
        writer.write("/board/b/sample", 5 * HOUR_NS + second * 1_000_000_000, {})
    open_ns = recorded_ns(writer.path)
    writer.close({})
    whole = writer.path.read_bytes()
    assert recorded_ns(writer.path) == 59_000_000_000 and 57_000_000_000 <= open_ns <= 59_000_000_000
    lengths = []
    for cut in range(0, len(whole), 101):
        writer.path.write_bytes(whole[:cut])
        lengths.append(recorded_ns(writer.path))
    assert lengths == sorted(lengths) and lengths[0] == 0 and lengths[-1] == 59_000_000_000


def test_ambient_recording_is_made_durable_as_runs_are(tmp_path, monkeypatch):
    synced = []
    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, lambda opened: synced.append(Path(f"/proc/self/fd/{opened}").readlink()))

    async def three_seconds():
        service = Service(Settings((), "tcp://127.0.0.1:*", tmp_path, {}, False, False, ambient_hours=1.0), lambda _text: None)
        samples(service.recorder, 0, 5)
        for _ in range(2):
            await service._make_durable()
        service.recorder.open("pi0", {"run": RUN, "label": "x"}, 10**9)
        synced.append("the run")
        await service._make_durable()
        await service._shut_down(None)

    asyncio.run(three_seconds())
    (recording,), (run,) = ambient_files(tmp_path), tmp_path.glob("*.mcap")
    ambient = recording.parent
    whole = [recording, ambient, recording, recording, "the run", run, tmp_path, run]
    assert synced == whole, "data each second and at the end, the folder once for each new name"


def test_an_ambient_file_that_cannot_be_made_durable_ends_the_ambient_recording_only(tmp_path, monkeypatch):
    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    async def a_second():
        service = Service(Settings((), "tcp://127.0.0.1:*", tmp_path, {}, False, False, ambient_hours=1.0), lambda _text: None)
        samples(service.recorder, 0, 5)
        monkeypatch.setattr(os, "fdatasync", broken)
        await service._make_durable()
        monkeypatch.undo()
        run = service.recorder.open("pi0", {"run": RUN, "label": "x"}, 10**9)
        assert run.run in service.recorder.runs and "cannot write to the run file" in service.recorder.ambient.state
        await service._shut_down(None)

    asyncio.run(a_second())


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
