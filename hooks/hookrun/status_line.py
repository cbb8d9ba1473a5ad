"""One line on a terminal that is written over."""

from __future__ import annotations

from typing import TextIO


class StatusLine:
    """Called with a text; silent where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._visible = stream, False

    def __call__(self, text: str) -> None:
        """Show the text in place of the one before."""
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
            self._visible = True

    def clear(self) -> None:
        """Leave a clean line."""
        if self._visible:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._visible = False
