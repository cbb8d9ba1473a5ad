"""`epid serve` as a process of its own, for tests that need the real thing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

EPID = str(Path(sys.executable).with_name("epid"))
PATIENCE_S = 60
"""Far more than anything takes: who waits so long has failed, however busy the machine is."""


class Voice:
    """What a process says on stderr, line by line as it comes; each line is waited for once."""

    def __init__(self, stream):
        self.lines, self._unclaimed, self._ended = [], [], False
        self._heard = threading.Condition()
        self._thread = threading.Thread(target=self._listen, args=(stream,), daemon=True)
        self._thread.start()

    def said(self, text):
        """Return the first line with `text` that nobody has claimed yet, and claim it; None where it has not been said."""
        with self._heard:
            found = next((line for line in self._unclaimed if text in line), None)
            if found is not None:
                self._unclaimed.remove(found)
            return found

    def wait_line(self, text):
        """Wait for a line with `text` and claim it."""
        until_s = time.monotonic() + PATIENCE_S
        while (found := self.said(text)) is None:
            with self._heard:
                assert not self._ended, f"{text!r} never came: {self.lines}"
                assert time.monotonic() < until_s, f"no {text!r} in {PATIENCE_S} s: {self.lines}"
                self._heard.wait(0.1)
        return found

    def join(self):
        """Wait for the last line."""
        self._thread.join(PATIENCE_S)

    def _listen(self, stream):
        for line in stream:
            with self._heard:
                self.lines.append(line.rstrip())
                self._unclaimed.append(line.rstrip())
                self._heard.notify_all()
        stream.close()
        with self._heard:
            self._ended = True
            self._heard.notify_all()


class Daemon:
    """A running daemon; `lines` is what it has said so far."""

    def __init__(self, folder, *arguments):
        command = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--runs", str(folder), "--no-announce", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._voice = Voice(self.process.stderr)
        self.lines, self.said, self.wait_line = self._voice.lines, self._voice.said, self._voice.wait_line
        self.endpoint = re.search(r"tcp://\S+:\d+", self.wait_line("listening for nodes"))[0]

    def status(self):
        """What `epid status --json` prints."""
        command = [EPID, "status", "--json", "--daemon", self.endpoint, "--timeout", str(PATIENCE_S)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def kill(self):
        """Kill it, as a power cut would."""
        self.process.kill()
        self.process.wait()
        self._voice.join()

    def stop(self, number=signal.SIGTERM):
        """Stop it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        self._voice.join()
        return self.process.returncode
