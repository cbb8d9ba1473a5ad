"""Hashes: right while writing, remembered only as long as the file cannot have changed."""

import hashlib
import json
import os

import pytest

from epi_surgery import hashing
from epi_surgery.hashing import HashingWriter, file_sha256


def rested(path, data):
    path.write_bytes(data)
    return path


@pytest.fixture
def no_rest(monkeypatch):
    monkeypatch.setattr(hashing, "_REST_NS", -1)


def reads(path, cache):
    """The hash, and how many bytes had to be looked at in chunks (a remembered hash advances once)."""
    steps = []
    return file_sha256(path, cache, steps.append), steps


def test_the_writer_hashes_what_the_file_holds(tmp_path):
    chunks = [os.urandom(n) for n in (0, 1, 100_000, 5)]
    with (tmp_path / "f").open("wb") as file, HashingWriter(file) as writer:
        for chunk in chunks:
            writer.write(chunk)
    assert writer.hexdigest() == hashlib.sha256((tmp_path / "f").read_bytes()).hexdigest()


def test_the_writer_ends_when_the_file_fails(tmp_path):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), HashingWriter(Full()) as writer:
        for _ in range(100):
            writer.write(b"x" * 1000)
    assert not writer._thread.is_alive()


def test_a_remembered_hash_is_used_until_the_file_changes(tmp_path, no_rest):
    path, cache = rested(tmp_path / "m", b"one"), tmp_path / "deep" / "cache.json"
    first, _ = reads(path, cache)
    assert first == hashlib.sha256(b"one").hexdigest()
    body = json.loads(cache.read_text())
    cache.write_text(json.dumps(dict.fromkeys(body, "remembered")))
    assert reads(path, cache)[0] == "remembered"
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))  # even with a forged modification time, the change time tells
    assert reads(path, cache)[0] == hashlib.sha256(b"two").hexdigest()


def test_a_fresh_file_is_not_remembered(tmp_path):
    path, cache = rested(tmp_path / "m", b"one"), tmp_path / "cache.json"
    reads(path, cache)
    assert not cache.exists()


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path, no_rest):
    path, cache = rested(tmp_path / "m", b"one"), tmp_path / "cache.json"
    for content in (b"{", b"[1]", b"\xff"):
        cache.write_bytes(content)
        assert reads(path, cache)[0] == hashlib.sha256(b"one").hexdigest()
    (tmp_path / "file").write_text("")
    assert reads(path, tmp_path / "file" / "cache.json")[0] == hashlib.sha256(b"one").hexdigest()


def test_the_cache_stays_small(tmp_path, no_rest, monkeypatch):
    monkeypatch.setattr(hashing, "_MAX_REMEMBERED", 3)
    cache = tmp_path / "cache.json"
    for i in range(5):
        reads(rested(tmp_path / f"m{i}", bytes([i])), cache)
    assert len(json.loads(cache.read_text())) == 3
