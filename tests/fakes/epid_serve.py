"""`epid serve` as a process of its own, for tests that need the real thing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

EPID = str(Path(sys.executable).with_name("epid"))


class Daemon:
    """A running daemon; `lines` is what it has said so far."""

    def __init__(self, folder, *arguments):
        command = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--runs", str(folder), "--no-announce", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.endpoint = re.search(r"tcp://\S+:\d+", self.wait_line("listening for nodes"))[0]

    def wait_line(self, text):
        """Read what the daemon says until it says `text`."""
        while line := self.process.stderr.readline():
            self.lines.append(line.rstrip())
            if text in line:
                return line
        raise AssertionError(f"{text!r} never came: {self.lines}")

    def status(self):
        """What `epid status --json` prints."""
        done = subprocess.run([EPID, "status", "--json", "--daemon", self.endpoint], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def stop(self, number=signal.SIGTERM):
        """Stop it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.lines += self.process.communicate(timeout=20)[1].splitlines()
        return self.process.returncode
