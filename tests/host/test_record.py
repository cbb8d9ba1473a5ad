"""The run file: what is written comes back, whole or cut off or damaged."""

import random
import resource

import pytest
from mcap.writer import Writer
from truncation import cut
from truncation import write as write_truncated

from epid.errors import RunFileError
from epid.record.listing import list_runs
from epid.record.reader import RunFile
from epid.record.topics import FORMAT_VERSION
from epid.record.writer import CHUNK_BYTES, FLUSH_NS, RunWriter

METADATA = {"run": "abcd1234", "label": "base", "node": "pi0", "utc": "2026-01-01T00:00:00+00:00"}


def write_run(path, n=400, period_ns=50_000_000, close=True):
    writer = RunWriter(path, METADATA, "test")
    for k in range(n):
        writer.write("/board/b/sample", k * period_ns, {"host_ns": k * period_ns, "payload": bytes([k & 255]) * 50})
    if close:
        writer.close({"status": "complete"})
    else:
        writer.abandon()
    return path


def test_what_is_written_comes_back_in_order(tmp_path):
    file = RunFile(write_run(tmp_path / "a.mcap"))
    stamps = [message.host_ns for message in file.messages()]
    assert stamps == [k * 50_000_000 for k in range(400)]
    assert file.complete and file.damage == [] and file.metadata["label"] == "base" and file.end["status"] == "complete"


def test_a_run_that_was_never_closed_lacks_at_most_the_last_flush_period(tmp_path):
    file = RunFile(write_run(tmp_path / "a.mcap", close=False))
    stamps = [message.host_ns for message in file.messages()]
    assert stamps[-1] >= 399 * 50_000_000 - FLUSH_NS
    assert not file.complete


def test_a_cut_at_any_byte_leaves_everything_flushed_before_it(tmp_path):
    whole = write_run(tmp_path / "a.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    rng = random.Random(3)
    read_before = {}
    for at in sorted(rng.sample(range(200, len(whole)), 300)):
        cut.write_bytes(whole[:at])
        file = RunFile(cut)
        read_before[at] = sum(1 for _ in file.messages())
        assert not file.complete or at == len(whole)
        assert file.damage or file.complete
    counts = list(read_before.values())
    assert counts == sorted(counts), "a longer piece never reads back less"
    assert counts[-1] == 400


def test_a_flipped_bit_anywhere_is_harmless_or_reported_and_costs_little(tmp_path):
    whole = write_run(tmp_path / "a.mcap").read_bytes()
    broken = tmp_path / "b.mcap"
    rng = random.Random(5)
    damaged = 0
    for at in rng.sample(range(300, len(whole)), 200):
        data = bytearray(whole)
        data[at] ^= 1 << rng.randrange(8)
        broken.write_bytes(data)
        file = RunFile(broken)
        read = sum(1 for _ in file.messages())
        assert read == 400 or file.damage, f"flip at byte {at}"
        damaged += bool(file.damage)
    assert damaged > 50


def test_other_files_are_refused_in_one_sentence(tmp_path):
    text, other = tmp_path / "notes.mcap", tmp_path / "other.mcap"
    text.write_text("not a run")
    with other.open("wb") as stream:
        foreign = Writer(stream)
        foreign.start(profile="ros2")
        foreign.finish()
    for path in (text, other):
        with pytest.raises(RunFileError, match="is not a run file of epid"):
            list(RunFile(path).messages())
    with pytest.raises(RunFileError, match="cannot read"):
        list(RunFile(tmp_path / "absent.mcap").messages())


def test_a_file_from_the_future_names_both_versions(tmp_path):
    path = tmp_path / "f.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="epi-run")
        writer.add_metadata("run", {"format": "99"})
        writer.finish()
    with pytest.raises(RunFileError, match=f"format 99, this program reads {FORMAT_VERSION}"):
        list(RunFile(path).messages())


def test_a_full_disk_is_one_sentence_and_the_file_stays_readable(tmp_path):
    path = tmp_path / "a.mcap"
    writer = RunWriter(path, METADATA, "test")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunFileError, match="cannot write to the run file"):
            for k in range(10_000):
                body = {"host_ns": k, "payload": random.Random(k).randbytes(200)}
                writer.write("/board/b/sample", k * 50_000_000, body)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.abandon()
    file = RunFile(path)
    assert sum(1 for _ in file.messages()) > 10
    assert file.damage


def test_a_run_is_never_written_over_another(tmp_path):
    write_run(tmp_path / "a.mcap")
    with pytest.raises(RunFileError, match="cannot start the run file"):
        RunWriter(tmp_path / "a.mcap", METADATA, "test")


def test_runs_are_listed_with_their_state(tmp_path):
    write_run(tmp_path / "a.mcap")
    write_run(tmp_path / "b.mcap", close=False)
    (tmp_path / "c.mcap").write_text("no run")
    assert [(run["label"], run["status"]) for run in list_runs(tmp_path)] == [("base", "indexed"), ("base", "open or cut off")]
    with pytest.raises(RunFileError, match="there is no folder"):
        list_runs(tmp_path / "absent")


def test_a_damaged_chunk_takes_only_its_own_messages_with_it(tmp_path):
    path = write_run(tmp_path / "a.mcap")
    data = bytearray(path.read_bytes())
    first_frame = data.index(b"\x28\xb5\x2f\xfd")  # zstd's magic number: the first chunk, which names the channels
    data[first_frame + 20 : first_frame + 30] = bytes(10)
    path.write_bytes(data)
    file = RunFile(path)
    read = list(file.messages())
    assert len(file.damage) == 1 and "a damaged chunk was skipped" in file.damage[0]
    assert {message.topic for message in read} == {"/board/b/sample"} and 380 <= len(read) < 400


def test_a_message_that_is_too_big_closes_its_chunk_at_once(tmp_path):
    writer = RunWriter(tmp_path / "a.mcap", METADATA, "test")
    for k in range(3):
        writer.write("/node/pi0/spans", k, {"host_ns": k, "body": random.Random(k).randbytes(CHUNK_BYTES)})
    writer.abandon()
    assert len(list(RunFile(tmp_path / "a.mcap").messages())) == 3


def test_cut_anywhere_at_most_a_second_is_lost(tmp_path):
    rng = random.Random(4)
    written = write_truncated(tmp_path / "run.mcap", 10, rng)
    for _ in range(60):
        assert cut(written, rng.randrange(200, len(written.data)), tmp_path / "cut.mcap").lost_s <= 1.0
