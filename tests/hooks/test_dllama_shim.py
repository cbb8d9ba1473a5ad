"""The shim and the feed between the program and hookrun, and the watchdog beside it."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hookrun.dllama.feed import Feed, MarkKind
from hookrun.dllama.shim import SOURCE, environment, find_shim, line_buffered
from hookrun.dllama.watchdog import Watchdog


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    found = find_shim(tmp_path)
    if found is None:
        pytest.skip("no shim and no C compiler here")
    return found


def test_the_shim_is_compiled_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookrun.dllama.shim._installed", lambda: None)
    if find_shim(tmp_path) is None:
        pytest.skip("no C compiler here")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_shim(tmp_path) is None
    monkeypatch.setenv("CC", "false")
    assert find_shim(tmp_path) is None
    assert SOURCE.is_file()


def test_the_shim_writes_what_the_feed_reads(shim: Path) -> None:
    """Called from this process: stamps by number, also across the end of the ring, and what was overwritten is missed."""
    feed = Feed(stamps=8, marks=4)
    program = (
        "import ctypes, sys, socket\n"
        "library = ctypes.CDLL(None)\n"
        "now = getattr(ctypes.CDLL(sys.argv[1]), '_ZNSt6chrono3_V212system_clock3nowEv')\n"
        "now.restype = ctypes.c_int64\n"
        "for _ in range(13): last = now()\n"
        "near, far = socket.socketpair()\n"
        "buffer = ctypes.create_string_buffer(8)\n"
        "library.send(near.fileno(), b'\\x05\\0\\0\\0\\x20\\0\\0\\0', 8, 0)\n"
        "library.recv(far.fileno(), buffer, 8, 0)\n"
        "print(last, near.fileno(), far.fileno())\n"
    )
    command = [sys.executable, "-S", "-c", program, str(shim)]
    done = subprocess.run(command, env=environment(shim, feed.path, {}), capture_output=True, text=True, check=True)
    last, near, far = map(int, done.stdout.split())
    assert feed.stamps_written == 13
    assert feed.stamps_ns(4, 8) is None
    stamps = feed.stamps_ns(5, 8)
    assert stamps is not None
    assert list(stamps) == sorted(stamps)
    assert feed.stamps_ns(6, 8) is None
    assert last > 1_600_000_000_000_000_000
    assert list(feed.marks()) == []  # one look late
    marks = [mark for mark in feed.marks() if mark.kind is not MarkKind.FLUSH]
    assert [(mark.kind.name, mark.socket, mark.bytes) for mark in marks] == [("SENT", near, 8), ("RECEIVED", far, 8)]
    assert struct.pack("<Q", marks[1].value) == struct.pack("<II", 5, 32)
    assert list(feed.marks(everything=True)) == []
    feed.close()
    assert not feed.path.exists()


def test_marks_that_were_overwritten_are_counted() -> None:
    feed = Feed(stamps=2, marks=4)
    header = (ctypes.c_uint64 * 8).from_buffer(feed._memory)
    base = 64 + 8 * 2
    for number in range(10):
        struct.pack_into("=qqQII", feed._memory, base + 32 * (number % 4), number, number, 0, 1, 0)
    header[4] = 10
    assert [mark.begin_ns for mark in feed.marks(everything=True)] == [6, 7, 8, 9]
    assert feed.missed == 6
    del header
    feed.close()


def test_the_environment_keeps_what_was_preloaded_before(tmp_path: Path) -> None:
    made = environment(Path("/s.so"), Path("/feed"), {"LD_PRELOAD": "/other.so", "HOME": "/h"})
    assert made == {"LD_PRELOAD": "/s.so /other.so", "HOME": "/h", "HOOKRUN_DLLAMA_SHIM": "/feed"}
    assert line_buffered(("dllama", "worker"))[-2:] == ("dllama", "worker")


def test_the_watchdog_waits_for_a_first_sign_and_starves_without_the_next() -> None:
    watchdog = Watchdog(2.0)
    assert not watchdog.starved(10**12)
    watchdog.look(5, 0)
    watchdog.look(5, 1_900_000_000)
    assert not watchdog.starved(2_000_000_000)
    assert watchdog.starved(2_000_000_001)
    watchdog.look(6, 2_500_000_000)
    assert not watchdog.starved(4_000_000_000)
    watchdog.disarm()
    assert not watchdog.starved(10**15)
    never = Watchdog(0.0)
    never.feed(0)
    assert not never.starved(10**15)
