"""The program itself: started with its output in our hands, passed on as it comes, and ended when it must be."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from ..errors import HookrunError

GRACE_S = 3.0
"""Between asking the program to end and killing it."""
_CHUNK_BYTES = 1 << 16


class Child:
    """A running program. `read` waits for its output; signals and `end` may come from another thread."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], clock: Callable[[], int]) -> None:
        self._clock = clock
        try:
            self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, bufsize=0)
        except OSError as error:
            raise HookrunError(f"cannot start {command[0]}: {error.strerror or error}") from None
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)

    def read(self, timeout_s: float) -> tuple[bytes, int] | None:
        """Return what the program has printed and when it arrived, b"" where it is silent; None when its output is over."""
        select.select([self._output], [], [], timeout_s)
        at_ns = self._clock()
        try:
            data = os.read(self._output, _CHUNK_BYTES)
        except BlockingIOError:
            return b"", at_ns
        return (data, at_ns) if data else None

    @property
    def running(self) -> bool:
        """Return whether the program has not ended."""
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        """Ask the program to end, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the program's end, kill it if that takes too long, and return its code: above 128 for a signal."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return code if code >= 0 else 128 - code

    def stop(self) -> int:
        """Ask for the end and wait for it."""
        if self.running:
            self._process.terminate()
        return self.end()
