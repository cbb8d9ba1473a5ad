"""The thread that looks at the node itself twice a second while a run is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..clock import node_ns
from ..sending.recording import Recording

PERIOD_S = 0.5


class Telemetry:
    """While entered, what `read` returns goes into the recording every `period_s`, once at the start and once at the end too."""

    def __init__(
        self,
        recording: Recording,
        read: Callable[[], dict[str, float]],
        period_s: float = PERIOD_S,
        clock: Callable[[], int] = node_ns,
    ) -> None:
        self._recording, self._read, self._period_s, self._clock = recording, read, period_s, clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hookrun-telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        """Look on a fixed grid: a slow look shortens the pause behind it, and the next one is not late."""
        begin_ns, looks = self._clock(), 0
        while True:
            over = self._over.is_set()
            readings = self._read()
            if readings:
                self._recording.telemetry(readings)
            if over:
                return
            looks += 1
            due_ns = begin_ns + round(looks * self._period_s * 1e9)
            self._over.wait(max(0.0, (due_ns - self._clock()) / 1e9))
