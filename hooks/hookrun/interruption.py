"""Ctrl-C and SIGTERM while an engine computes.

Python runs signal handlers on the main thread between two instructions: never while that thread is inside an engine, and
sometimes inside a callback of the engine, where an exception would be lost. So the handler here does nothing, the courier's
thread reads the signal's number from a pipe and asks everyone to stop, and the main thread raises where it is safe.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from .errors import Interrupted
from .sending.courier import Courier

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, signals set a flag that `check` and `sleep` raise, and call what `stops` was given."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._requested = threading.Event()
        self._number = 0
        self._seen = 0
        self._stop: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        self._courier.on_signal = self._on_signal
        self._fd_before = signal.set_wakeup_fd(self._courier.wake_fd, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._on_main_thread) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Return whether a signal has come."""
        return self._requested.is_set()

    def stops(self, stop: Callable[[], None]) -> None:
        """Have `stop` called, on another thread, as soon as a signal comes."""
        self._stop = stop

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._requested.is_set():
            raise Interrupted(self._number)

    def checked(self, report: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """Return `report` as a progress callback that raises Interrupted where a signal has come."""

        def step(done: int, total: int) -> None:
            report(done, total)
            self.check()

        return step

    def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than until a signal comes."""
        self._requested.wait(seconds)
        self.check()

    def _on_signal(self, number: int) -> None:
        if number in SIGNALS:
            self._number = number
            self._requested.set()
            self._stop()

    def _on_main_thread(self, _number: int, _frame: FrameType | None) -> None:
        """Only where nobody else would notice: the courier is gone, or the first signal has not helped."""
        self._seen += 1
        if not self._courier.alive or self._seen > 1:
            raise KeyboardInterrupt
