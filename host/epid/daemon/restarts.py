"""A board that restarts again and again: said once, in a sentence, instead of a greeting every second."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 30_000_000_000
TOO_OFTEN = 4


class Restarts:
    """The recent starts of one board."""

    def __init__(self) -> None:
        self._starts_ns: deque[int] = deque(maxlen=TOO_OFTEN)
        self._said = False

    def started(self, host_ns: int) -> str | None:
        """Take a start; return the sentence to say about it, an empty one for silence, None for the usual greeting."""
        self._starts_ns.append(host_ns)
        if len(self._starts_ns) < TOO_OFTEN or host_ns - self._starts_ns[0] > WINDOW_NS:
            self._said = False
            return None
        if self._said:
            return ""
        self._said = True
        seconds = (host_ns - self._starts_ns[0]) / 1e9
        return f"has started {TOO_OFTEN} times in {seconds:.0f} s: check its supply and its cable; nothing more is said of it"
