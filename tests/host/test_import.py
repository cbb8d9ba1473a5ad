"""`epid import`: a node's event files into run files, whole or as the rest of a run; nothing twice, nothing half."""

import json
import subprocess
from pathlib import Path

import msgpack
import pytest

from epi_protocol import PROTOCOL_VERSION, events
from epid.analysis.timeline.run import load_run
from epid.daemon.disk import Disk
from epid.daemon.importing import import_events
from epid.daemon.recorder import Recorder
from epid.errors import RunFileError
from epid.record.listing import list_runs
from epid.record.reader import RunFile
from fakes import node
from fakes.epid_serve import EPID
from hookrun.sending.eventfile import EventFile

NOW = 5_000_000_000
BEGIN = {"run": node.RUN, "label": "base", "node_ns": 10, "settings": {}, "model": {"name": "m"}}
END = {"run": node.RUN, "node_ns": 99, "status": "complete", "spans": 6, "dropped": 0}


def batch(seq):
    return node.spans([{"begin_ns": 100 * seq + k, "end_ns": 100 * seq + k + 1, "kind": 1} for k in range(2)], seq)


def look(node_ns):
    return "telemetry", {"run": node.RUN, "node_ns": node_ns, "readings": {"load": node_ns / 10}}


WHOLE = [("run_begin", BEGIN), ("spans", batch(0)), look(50), ("spans", batch(1)), ("spans", batch(2)), ("run_end", END)]


def event_file(path, messages=WHOLE):
    """An event file as hookrun itself writes it."""
    file = EventFile(path, events.hello("pi/0", "5e55", "host", 1, "fake"))
    for kind, body in messages:
        file.write(events.pack(kind, body))
    file.close()
    return path


def bring(path, folder, cut_off=False):
    return import_events(path, folder, cut_off, lambda: NOW)


def spans_in(path):
    """Numbers of the batches in one file."""
    return [message.body["body"]["seq"] for message in RunFile(path).messages() if message.topic.endswith("/spans")]


def test_a_run_that_no_daemon_heard_of_becomes_a_run_file(tmp_path):
    made = bring(event_file(tmp_path / "base.events"), tmp_path / "runs")
    assert (made.run, made.batches, made.spans, made.missing, made.status) == (node.RUN, 3, 6, 0, "complete")
    run = load_run(made.path)
    assert not run.damage and run.end == {"status": "complete", "spans": "6", "dropped": "0"}
    assert run.node.begin == BEGIN and run.node.end == END and run.node.hello["node"] == "pi/0"
    assert run.node.telemetry == [(50, {"load": 5.0})]
    assert spans_in(made.path) == [0, 1, 2]
    (entry,) = list_runs(tmp_path / "runs")
    assert entry["label"] == "base" and entry["status"] == "indexed"
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".mcap"], "nothing half written"


def heard_in_part(folder, seqs=(0, 1)):
    """A run whose node fell silent after some batches."""
    recorder = Recorder(folder, {}, Disk(folder))
    opened = recorder.open("pi/0", BEGIN, 1)
    for seq in seqs:
        recorder.spans("pi/0", events.span_batch(batch(seq)), 2)
    recorder.node("pi/0", "telemetry", 2, {"body": look(50)[1]})
    recorder.end(opened, {"status": "aborted: the node fell silent"}, 3, 0)
    recorder.close(opened, "aborted: the node fell silent")
    return opened.writer.path


def test_the_rest_of_a_run_goes_beside_its_first_file_and_nothing_stands_twice(tmp_path):
    first = heard_in_part(tmp_path)
    rest = [
        ("run_begin", BEGIN | {"resume": True}),
        look(50),
        look(60),
        ("spans", batch(1)),
        ("spans", batch(2)),
        ("run_end", END),
    ]
    made = bring(event_file(tmp_path / "hookrun-rest.events", rest), tmp_path)
    assert made.path == first.with_name(f"{first.stem}.part2.mcap") and (made.batches, made.spans) == (1, 2)
    assert spans_in(first) == [0, 1] and spans_in(made.path) == [2]
    run = load_run(first)
    assert run.end["status"] == "complete" and not run.damage
    assert [node_ns for node_ns, _readings in run.node.telemetry] == [50, 60] and run.node.telemetry_repeated == 1


def test_a_batch_that_stands_nowhere_is_counted_and_said(tmp_path):
    first = heard_in_part(tmp_path, (0,))
    rest = [("run_begin", BEGIN | {"resume": True}), ("spans", batch(2)), ("run_end", END)]
    made = bring(event_file(tmp_path / "rest.events", rest), tmp_path)
    assert made.missing == 1
    assert any("1 batches of spans stand neither" in note for note in load_run(first).notes)


def refusal(path, folder, sentence, **how):
    before = sorted(folder.rglob("*"))
    with pytest.raises(RunFileError, match=sentence):
        bring(path, folder, **how)
    assert sorted(folder.rglob("*")) == before, "a refusal leaves nothing behind"


def test_a_file_is_imported_once(tmp_path):
    path = event_file(tmp_path / "base.events")
    made = bring(path, tmp_path)
    refusal(path, tmp_path, rf"was imported already, into {made.path}")
    other = event_file(tmp_path / "copy.events", [("run_begin", BEGIN | {"resume": True}), *WHOLE[1:]])
    refusal(other, tmp_path, "nothing to import: run ab12cd34ef56ab12 stands in .* with all that .* holds")


def test_the_rest_of_a_run_that_is_not_there_is_refused(tmp_path):
    rest = [("run_begin", BEGIN | {"resume": True}), ("spans", batch(2)), ("run_end", END)]
    refusal(event_file(tmp_path / "rest.events", rest), tmp_path, "is the rest of run .* name the right folder with --runs")
    only_end = [("run_begin", BEGIN | {"resume": True}), ("run_end", END)]
    refusal(event_file(tmp_path / "end.events", only_end), tmp_path, "is the rest of run")


def test_a_file_that_is_cut_anywhere_is_refused_and_taken_on_demand_as_aborted(tmp_path):
    whole = event_file(tmp_path / "base.events").read_bytes()
    path, taken = tmp_path / "cut.events", set()
    for at in range(0, len(whole), 11):
        path.write_bytes(whole[:at])
        refusal(path, tmp_path, "is no event file|is cut off after|holds no begin of a run|damaged behind byte")
        folder = tmp_path / f"runs{at}"
        try:
            made = bring(path, folder, cut_off=True)
        except RunFileError:
            assert not folder.exists()
            continue
        assert made.status == "aborted: the event file was cut off" and spans_in(made.path) == list(range(made.batches))
        taken.add(made.batches)
    assert taken == {0, 1, 2, 3}


def test_a_flipped_bit_is_refused_or_changes_no_more_than_a_value(tmp_path):
    whole = event_file(tmp_path / "base.events").read_bytes()
    path, refused = tmp_path / "flipped.events", 0
    for at in range(0, len(whole), 5):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        try:
            made = bring(path, tmp_path / f"runs{at}")
        except RunFileError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        assert not load_run(made.path).damage
    assert refused > 30


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no begin of a run"),
        (b"PK\x03\x04" * 99, "is no event file of hookrun"),
        (msgpack.packb([1, 2]), "is no event file of hookrun"),
        (msgpack.packb(["events", {"format": 2, "protocol": 2}]), "has format 2, this program reads 1"),
        (
            msgpack.packb(["events", {"format": 1, "protocol": 99}]),
            f"speaks protocol 99, this program protocol {PROTOCOL_VERSION}",
        ),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, sentence):
    path = tmp_path / "x.events"
    path.write_bytes(content)
    refusal(path, tmp_path, sentence)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([("run_begin", BEGIN | {"run": "../../etc"}), ("run_end", END | {"run": "../../etc"})], "is not 8 to 32 hex digits"),
        ([("run_begin", BEGIN | {"model": 7}), ("run_end", END)], "'model' is int, expected a map"),
        ([("run_begin", BEGIN), ("spans", batch(0) | {"run": "ffffffff"})], "of another run"),
        ([("run_begin", BEGIN), ("run_begin", BEGIN)], "where it cannot stand"),
        ([("run_begin", BEGIN), ("run_end", END), ("spans", batch(0))], "where it cannot stand"),
        ([("run_begin", BEGIN), ("spans", batch(0) | {"count": 3})], "damaged behind byte"),
    ],
)
def test_what_no_node_writes_is_refused(tmp_path, messages, sentence):
    refusal(event_file(tmp_path / "x.events", messages), tmp_path, sentence)


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    path = event_file(tmp_path / "base.events")

    def full(*_files):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    refusal(path, tmp_path, "cannot write .*: No space left on device")
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", full)
    refusal(path, tmp_path, "cannot finish the run file .*: No space left on device")


def test_the_command(tmp_path):
    path = event_file(tmp_path / "base.events")
    command = [EPID, "import", str(path), "--runs", str(tmp_path / "runs")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["spans"] == 6 and Path(told["path"]).exists()
    again = subprocess.run(command, capture_output=True, text=True)
    assert (
        again.returncode == 4 and again.stderr.startswith(f"epid: {path} was imported already") and again.stderr.count("\n") == 1
    )
