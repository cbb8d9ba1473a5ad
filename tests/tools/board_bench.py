"""A simulated board with a `main.py` of the test's own, and a real MicroPython that runs it."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import serial

EPI = [sys.executable, "-c", "from epi_tools.cli import epi; epi()"]


class RunningSim:
    """`epi sim` as a child process, with its port open; ends with Ctrl-C."""

    def __init__(self, folder: Path, *arguments: str, main: str | None = None, ideal: bool = True, tcp: bool = False) -> None:
        self.link: Path | str = folder / "meter"
        self.truth = folder / "truth.json"
        command = [
            *EPI,
            "sim",
            "--json",
            *(["--ideal"] if ideal else []),
            *(["--tcp", "127.0.0.1:0"] if tcp else ["--port-link", str(self.link)]),
            "--truth",
            str(self.truth),
            *arguments,
        ]
        if main is not None:
            firmware = folder / "firmware"
            firmware.mkdir(exist_ok=True)
            (firmware / "main.py").write_text(main)
            command += ["--firmware", str(firmware)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        if not self.ready:
            raise RuntimeError(self.process.communicate()[1])
        if tcp:
            self.link = json.loads(self.ready)["port"]

    def __enter__(self) -> "RunningSim":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def open(self) -> serial.Serial:
        return serial.Serial(str(self.link), 115200, timeout=0.05)

    def stop(self) -> tuple[int, str, str]:
        """Ctrl-C; returns exit code, the rest of stdout, and stderr."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


class Talker:
    """A pty that says the same bytes again and again, with pauses of `every_s`."""

    def __init__(self, said: bytes, every_s: float = 0.1) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port, self._said, self._every_s = os.ttyname(self._slave), said, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk)

    def __enter__(self) -> "Talker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _talk(self) -> None:
        os.set_blocking(self._master, False)
        while not self._stop.wait(self._every_s):
            try:
                os.write(self._master, self._said)
            except BlockingIOError:
                continue


def read_until(port: serial.Serial, wanted: bytes, timeout_s: float = 20.0) -> bytes:
    """Bytes up to and including `wanted`."""
    data, deadline = b"", time.monotonic() + timeout_s
    while wanted not in data:
        if time.monotonic() > deadline:
            raise AssertionError(f"{wanted!r} did not come, only {data!r}")
        data += port.read(max(1, port.in_waiting))
    return data


def wait_for(condition, timeout_s: float = 20.0):
    """Poll until `condition` gives something true, and return it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")
