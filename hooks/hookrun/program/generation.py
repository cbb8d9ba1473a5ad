"""Whether the program is inside a function that generates, and who wants to know."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Told of the outermost call only: a generation may call others to guess ahead."""

    def generation_begins(self) -> None: ...
    def generation_ends(self) -> None: ...


class Generation:
    """Counts how deep the program is inside such functions."""

    def __init__(self) -> None:
        self._depth = 0
        self._listener: Listener | None = None

    def tell(self, listener: Listener | None) -> None:
        """Tell this one from now on, and at once if a generation is under way."""
        self._listener = listener
        if listener is not None and self._depth:
            listener.generation_begins()

    def enter(self) -> None:
        """A function that generates was called."""
        self._depth += 1
        if self._depth == 1 and self._listener is not None:
            self._listener.generation_begins()

    def leave(self) -> None:
        """It returned, or failed."""
        self._depth -= 1
        if self._depth == 0 and self._listener is not None:
            self._listener.generation_ends()
