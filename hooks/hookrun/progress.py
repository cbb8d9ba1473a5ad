"""A bar on a terminal, redrawn once a second so that drawing it costs nothing that a meter could see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 30


class Bar:
    """Called with (done, total); draws nothing where the stream is no terminal."""

    def __init__(
        self, stream: TextIO, label: str, unit: str, *, period_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._label, self._unit = stream, label, unit
        self._period_s, self._clock = period_s, clock
        self._drawn_s = clock() if stream.isatty() else float("inf")
        self._visible = False

    def __call__(self, done: int, total: int, /) -> None:
        """Draw the state if the last drawing is old enough."""
        now_s = self._clock()
        if now_s - self._drawn_s < self._period_s:
            return
        self._drawn_s = now_s
        self._visible = True
        full = WIDTH * done // max(total, 1)
        self._stream.write(f"\r{self._label} [{'#' * full}{'.' * (WIDTH - full)}] {done}/{total} {self._unit}")
        self._stream.flush()

    def clear(self) -> None:
        """Leave a clean line."""
        if self._visible:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._visible = False
