"""Notices that nothing moves any more: distributed-llama spins for ever when another node freezes or loses its power."""

from __future__ import annotations

PATIENCE_S = 60.0


class Watchdog:
    """Armed by the first sign of inference. Every sign feeds it; `starved` once none has come for `patience_s` (0: never)."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_ns = round(patience_s * 1e9)
        self._fed_ns: int | None = None
        self._activity = 0

    def feed(self, now_ns: int) -> None:
        """Something has happened."""
        self._fed_ns = now_ns

    def look(self, activity: int, now_ns: int) -> None:
        """Feed it if a number that counts what happens has moved."""
        if activity != self._activity:
            self._activity = activity
            self.feed(now_ns)

    def starved(self, now_ns: int) -> bool:
        """Return whether to give up."""
        return bool(self._patience_ns) and self._fed_ns is not None and now_ns - self._fed_ns > self._patience_ns

    def disarm(self) -> None:
        """The work is done; what follows may take as long as it likes."""
        self._patience_ns = 0
