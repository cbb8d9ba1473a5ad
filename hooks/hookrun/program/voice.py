"""hookrun's own words inside another program: on stderr, a line each, and never an error."""

from __future__ import annotations

import sys


class Voice:
    """Says each sentence once. Where stderr is closed or gone, nobody is told."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._said: set[str] = set()

    def warn(self, sentence: str) -> None:
        """Say what is missing or wrong."""
        self._say(f"hookrun: warning: {sentence}")

    def tell(self, sentence: str) -> None:
        """Say what came of it, unless asked to be quiet."""
        if not self._quiet:
            self._say(f"hookrun: {sentence}")

    def _say(self, line: str) -> None:
        stream = sys.stderr
        if line in self._said or stream is None:
            return
        self._said.add(line)
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):  # closed by the program, or its reader is gone: both are the program's right
            self._quiet = True
