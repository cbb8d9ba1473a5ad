"""The board's own main.py under a real MicroPython with 190 KB, its stdin and stdout in our hands."""

import os
import subprocess
import time
from pathlib import Path

import interpreters
import pytest

from epi_protocol.frame import FrameDecoder

HERE = Path(__file__).parent


class Board:
    """main.py started in `folder`; `radio` gives it a Wi-Fi that is always joined."""

    def __init__(self, folder, radio=False):
        try:
            command = interpreters.unix_command("190k")
        except interpreters.Missing as missing:
            pytest.skip(str(missing))
        fakes = [HERE / "fake_machine"] + [HERE / "fake_radio"] * radio
        self.process = subprocess.Popen(
            [*command, "-c", "import main"],
            env={**os.environ, "MICROPYPATH": ":".join(map(str, (*fakes, *interpreters.FOLDERS[:2], ".frozen")))},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.decoder = FrameDecoder()

    def until(self, wanted, timeout_s=20):
        """Collect payloads until `wanted(payloads)` is true; return them."""
        payloads, deadline = [], time.monotonic() + timeout_s
        while not wanted(payloads):
            assert time.monotonic() < deadline, payloads
            assert self.process.poll() is None, self.process.stderr.read()
            payloads += self.decoder.feed(self.process.stdout.read() or b"")
            time.sleep(0.005)
        return payloads

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def of_kind(payloads, kind):
    """Those payloads that are messages of one type."""
    return [payload for payload in payloads if payload[0] == kind]
