"""One run of the program: its output passed on and read, its stamps collected, until it ends or is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..interruption import Interruption
from ..sending.ring import SpanRing
from .child import Child
from .feed import Feed
from .output import OutputReader
from .root import RootSpans
from .step_times import StepTimes
from .steps import StepPlan
from .watchdog import Watchdog
from .worker import WorkerSpans

LOOK_S = 0.05
"""Between two looks at the stamps; a ring of them holds some seconds."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended; `frozen` where it was stopped because nothing moved."""

    code: int
    frozen: bool
    errors: tuple[str, ...]


class ProgramRun:
    """Reads one program. `root` or `worker` holds what came of it."""

    def __init__(
        self,
        ring: SpanRing,
        feed: Feed | None,
        *,
        prompt: str | None,
        plan: StepPlan | None,
        is_worker: bool,
        watchdog: Watchdog,
        clock: Callable[[], int],
        times: StepTimes | None = None,
    ) -> None:
        self.root = None if is_worker else RootSpans(ring, feed, plan, times)
        self.worker = WorkerSpans(ring) if is_worker else None
        self._feed, self._watchdog, self._clock = feed, watchdog, clock
        self._reader = OutputReader(prompt)

    @property
    def arrivals_ns(self) -> list[int]:
        """Return when the record of each token arrived."""
        return [token.at_ns for token in self.root.tokens] if self.root is not None else []

    def follow(self, child: Child, pass_on: Callable[[bytes], object], interruption: Interruption) -> Ended:
        """Read until the program has ended, passing its output on; Interrupted once it has ended after a signal."""
        frozen = False
        interruption.stops(child.ask_to_end)
        while (read := child.read(LOOK_S)) is not None:
            data, at_ns = read
            if data:
                pass_on(data)
                self._take(data, at_ns)
            self._look()
            if interruption.requested or (frozen := self._watchdog.starved(self._clock())):
                break
        code = child.stop() if frozen else child.end()
        self._finish()
        interruption.check()
        return Ended(code, frozen, tuple(self._reader.errors))

    def _take(self, data: bytes, at_ns: int) -> None:
        records = self._reader.feed(data, at_ns)
        if self.root is not None:
            self.root.take(records)
            if records:
                self._watchdog.feed(at_ns)
        if self._reader.finished:
            self._watchdog.disarm()

    def _look(self, *, over: bool = False) -> None:
        if self._feed is not None:
            for mark in self._feed.marks(everything=over):
                if self.root is not None:
                    self.root.mark(mark)
                if self.worker is not None:
                    self.worker.mark(mark)
            if self.root is not None and self._feed.stamps_written:
                self._watchdog.look(self._feed.activity, self._clock())
        if self.root is not None:
            self.root.work(over=over)

    def _finish(self) -> None:
        if self.root is not None:
            self.root.take(self._reader.close())
        self._look(over=True)
        if self.root is not None:
            self.root.finish()
        if self.worker is not None:
            self.worker.finish()
