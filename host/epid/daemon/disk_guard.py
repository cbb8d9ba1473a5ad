"""Looks at the disk once a second, says what it sees, and stops what has to stop before the disk is full."""

from __future__ import annotations

from collections.abc import Callable

from .disk import Room
from .open_run import Closed
from .recorder import Recorder


class DiskGuard:
    """Keeps a recorder from filling its disk; `room` is what was seen last."""

    def __init__(self, recorder: Recorder, say: Callable[[str], None]) -> None:
        self._recorder, self._say = recorder, say
        self.room = Room.PLENTY

    def look(self, host_ns: int) -> list[Closed]:
        """Look now; return the runs that had to be closed."""
        room, before = self._recorder.disk.room(), self.room
        self.room = room
        if room != before:
            sentence = self._recorder.disk.sentence(room)
            self._say(sentence)
            self._recorder.note(1, sentence, host_ns)
        if room >= Room.SHED and not self._recorder.ambient.failure:
            self._recorder.ambient.pause()
            self._recorder.ambient.stop("the disk is nearly full")
        elif room < Room.SHED <= before:
            self._recorder.ambient.resume()
        if room < Room.FULL:
            return []
        return [
            closed
            for run in list(self._recorder.runs.values())
            for closed in self._recorder.close(run, "aborted: the disk is nearly full")
        ]
