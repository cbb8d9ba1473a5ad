"""main.py's own decisions, each in a real MicroPython: which firmware starts, and what happens when it crashes or hangs."""

import json
import subprocess

import pytest
from tiny_firmware import MAIN
from vm_board import interpreter

# A `machine` whose timer is a thread: its callback comes between two bytecodes, as a soft timer's does on the board.
MACHINE = """
import _thread, micropython, os, time


class Timer:
    ONE_SHOT = 0

    def __init__(self, id, mode, period, callback):
        self._armed, self._callback = True, callback
        print("timer", period)
        _thread.start_new_thread(self._run, ())

    def _run(self):
        time.sleep_ms(100)
        if self._armed:
            micropython.schedule(self._callback, self)

    def deinit(self):
        print("timer stopped")
        self._armed = False


def reset():
    print("reset")
    os.system("kill -9 $PPID")
"""
RESET = -9
STARTS = "def start(on_healthy=None):\n    print('started', {name!r}, on_healthy is not None)\n    on_healthy and on_healthy()\n"


class Bench:
    """The files of a board, and power for it."""

    def __init__(self, folder):
        self.files = folder / "files"
        self.files.mkdir()
        self._machine = folder / "machine"
        self._machine.mkdir()
        (self._machine / "machine.py").write_text(MACHINE)
        (self.files / "main.py").write_text(MAIN.read_text())

    def put(self, slot, board=None):
        """A firmware in `slot` ("" for the plain folder)."""
        package = self.files / slot / "epi_firmware"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "board.py").write_text(board or STARTS.format(name=slot or "plain"))
        if slot:
            (self.files / slot / "manifest.json").write_text(json.dumps({}))

    def point(self, text):
        (self.files / "active").write_bytes(text)

    @property
    def pointer(self):
        path = self.files / "active"
        return path.read_text() if path.exists() else None

    def boot(self):
        """(exit code, lines printed)."""
        environment = {"MICROPYPATH": f":{self._machine}:.frozen"}
        command = [interpreter(), "-c", "import main"]
        done = subprocess.run(command, cwd=self.files, env=environment, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_without_slots_the_plain_folder_starts(bench):
    bench.put("")
    assert bench.boot() == (0, ["started plain False"])
    assert bench.pointer is None


def test_a_proven_slot_starts_before_the_plain_folder(bench):
    for slot in ("", "app_a", "app_b"):
        bench.put(slot)
    bench.point(b"app_b")
    assert bench.boot() == (0, ["started app_b False"])
    assert bench.pointer == "app_b"


@pytest.mark.parametrize(
    "text", [b"", b"\x00\xff\xfe", b"app_c", b"app_b x", b"app_b 2 of 3 \xff", b"../main", b"epi_firmware", b"9" * 5000]
)
def test_a_damaged_pointer_starts_a_whole_slot(bench, text):
    bench.put("app_b")
    bench.point(text)
    code, lines = bench.boot()
    assert code == 0 and any(line.startswith("started app_b") for line in lines)


def test_a_slot_without_manifest_is_never_started(bench):
    bench.put("app_a")
    bench.put("app_b")
    bench.point(b"app_b 3")
    (bench.files / "app_b" / "manifest.json").unlink()
    assert bench.boot() == (0, ["started app_a False"])


def test_a_new_firmware_that_is_healthy_is_proven_and_its_timer_stopped(bench):
    bench.put("app_a")
    bench.point(b"app_a 3")
    code, lines = bench.boot()
    assert code == 0 and lines[:3] == ["timer 20000", "started app_a True", "timer stopped"]
    assert bench.pointer == "app_a"


@pytest.mark.parametrize(
    "bad",
    [
        "def start(on_healthy=None):\n    raise ValueError('a bug')\n",
        "def start(:\n",
        "import there_is_no_such_module\n",
        "def start():\n    pass\n",
        "def start(on_healthy=None):\n    while True:\n        pass\n",
        "def start(on_healthy=None):\n    bytearray(1 << 60)\n",
    ],
    ids=["raises", "syntax", "import", "other arguments", "hangs", "memory"],
)
def test_a_firmware_that_fails_three_starts_gives_way(bench, bad):
    bench.put("app_a")
    bench.put("app_b", bad)
    bench.point(b"app_b 3")
    for left in (2, 1, 0):
        assert bench.boot()[0] == RESET
        assert bench.pointer == f"app_b {left}"
    for _ in range(2):
        assert bench.boot() == (0, ["started app_a False"])


def test_a_first_firmware_that_fails_gives_way_to_the_plain_folder(bench):
    bench.put("")
    bench.put("app_a", "def start(on_healthy=None):\n    1 / 0\n")
    bench.point(b"app_a 1")
    assert bench.boot()[0] == RESET
    assert bench.boot() == (0, ["started plain False"])


def test_a_proven_firmware_that_crashes_shows_why_and_leaves_the_prompt(bench):
    bench.put("app_a", "def start(on_healthy=None):\n    raise ValueError('a bug')\n")
    bench.point(b"app_a")
    code, _ = bench.boot()
    assert code == 1
    assert bench.pointer == "app_a"


def test_a_board_that_takes_no_writing_still_measures(bench):
    bench.put("app_a")
    bench.point(b"app_a 3")
    (bench.files / "active.new").mkdir()  # so that open() for writing fails
    code, lines = bench.boot()
    assert code == 0 and "started app_a True" in lines
