"""The recorder: losses of a node are counted here too, gaps between batches are said, and a full disk ends one run only."""

import os

import pytest

from epi_protocol import events
from epid.analysis.timeline.run import load_run
from epid.daemon.disk import Disk
from epid.daemon.recorder import Recorder
from epid.daemon.replay import Replay
from epid.daemon.status import run_status
from epid.errors import RunFileError
from fakes import node

OTHER = "fedcba9876543210"


@pytest.fixture
def recorder(tmp_path):
    opened = Recorder(tmp_path, {}, Disk(tmp_path))
    yield opened
    for run in list(opened.runs.values()):
        opened.close(run, "complete")


def batch(seq, dropped=0, run=node.RUN):
    return events.span_batch(node.spans([{"begin_ns": seq, "end_ns": seq + 1, "kind": 1}], seq, run, dropped))


def begin(recorder, run=node.RUN, **changes):
    return recorder.open("pi0", {"run": run, "label": "x"} | changes, 1)


def full(*_arguments):
    raise OSError(28, "No space left on device")


def test_what_a_nodes_ring_lost_is_counted_at_this_end_too(recorder):
    opened = begin(recorder)
    recorder.spans("pi0", batch(0, dropped=3), 2)
    recorder.spans("pi0", batch(1, dropped=7), 3)
    assert run_status(opened)["dropped"] == 7
    (closed,) = recorder.close(opened, "complete")
    run = load_run(closed.run.writer.path)
    assert run.end["dropped"] == "7" and run.node.spans.dropped == 7


def test_batches_that_never_came_are_said_and_late_ones_are_not_taken_twice(recorder):
    opened = begin(recorder)
    for seq in (0, 3, 3, 1):
        recorder.spans("pi0", batch(seq), 2)
    assert recorder.take_acks(opened) == [0, 3, 3, 1] and recorder.take_acks(opened) == []
    recorder.close(opened, "complete")
    run = load_run(opened.writer.path)
    assert len(run.node.spans) == 2 and run.notes == [f"run {node.RUN}: batches 1 to 2 never came"]


def test_a_run_that_goes_on_does_not_miss_what_stands_in_its_first_file(recorder):
    opened = begin(recorder, resume=True)
    recorder.spans("pi0", batch(17), 2)
    recorder.close(opened, "complete")
    assert load_run(opened.writer.path).notes == []


def test_a_batch_that_stands_in_two_parts_counts_once(recorder, tmp_path):
    """The daemon died after it had written the batch and before it told the node."""
    first = begin(recorder)
    for seq in (0, 1):
        recorder.spans("pi0", batch(seq), 2)
    recorder.close(first, "complete")
    again = Recorder(tmp_path, {}, Disk(tmp_path))
    second = begin(again, resume=True)
    for seq in (1, 2):
        again.spans("pi0", batch(seq), 3)
    again.close(second, "complete")
    run = load_run(first.writer.path)
    assert second.writer.path != first.writer.path
    assert run.node.placed is None and list(run.node.spans.columns()["begin_ns"]) == [0, 1, 2]
    assert run.node.batches_repeated == 1


def test_telemetry_that_came_twice_is_one_look_and_counted(recorder):
    opened = begin(recorder)
    looks = [(10, 0.5), (20, 0.7), (10, 0.5), (20, 0.7), (30, 0.1)]
    for node_ns, load in looks:
        recorder.node("pi0", "telemetry", 2, {"body": {"run": node.RUN, "node_ns": node_ns, "readings": {"load": load}}})
    recorder.close(opened, "complete")
    found = load_run(opened.writer.path).node
    assert found.telemetry == [(10, {"load": 0.5}), (20, {"load": 0.7}), (30, {"load": 0.1})]
    assert found.telemetry_repeated == 2


def test_a_run_whose_file_cannot_be_closed_is_given_up_and_the_other_goes_on(recorder, monkeypatch):
    first, second = begin(recorder), begin(recorder, OTHER)
    for opened in (first, second):
        recorder.spans("pi0", batch(0, run=opened.run), 2)
    recorder.due(3)
    recorder.end(first, {"status": "complete"}, 4, 0)
    monkeypatch.setattr(os, "fsync", full)
    assert recorder.due(5) == []
    monkeypatch.undo()
    assert [(failed.run, "No space left" in failed.status) for failed in recorder.failed] == [(first, True)]
    recorder.spans("pi0", batch(1, run=OTHER), 6)
    recorder.close(second, "complete")
    assert len(load_run(first.writer.path).node.spans) == 1 and len(load_run(second.writer.path).node.spans) == 2


def test_a_replay_onto_a_full_disk_is_one_sentence(recorder, tmp_path, monkeypatch):
    opened = begin(recorder)
    recorder.close(opened, "complete")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFileError, match=r"cannot finish the run file .*: No space left on device"):
        Replay(tmp_path / "again").feed(opened.writer.path)
