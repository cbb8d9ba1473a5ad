"""The thread that carries spans from the ring to the daemon and the file, and answers the daemon's clock questions."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from epi_protocol import events
from epi_protocol.events import SpanBatch

from .eventfile import EventFile
from .link import DaemonLink
from .ring import SpanRing

PERIOD_MS = 200
"""Between two looks into the ring: a batch then holds some thousand spans, and the thread hardly ever runs."""
BATCH = 8192


class Courier:
    """Drains one ring for one run at a time. Its methods are called by one other thread, which may wait for `changed`."""

    def __init__(self, ring: SpanRing, link: DaemonLink | None, file: EventFile | None, period_ms: int = PERIOD_MS) -> None:
        self.changed = threading.Condition()
        """Notified whenever the daemon has said something or the run has moved on."""
        self.finished = True
        """Whether the last run's spans are all drained and its end is told (the daemon may not have confirmed it)."""
        self.failure: BaseException | None = None
        self.on_signal: Callable[[int], None] = lambda _number: None
        """Called with the number of each signal that arrives at `wake_fd`, also while the other thread is inside an engine."""
        self._ring, self._link, self._file, self._period_ms = ring, link, file, period_ms
        self._wake_read, self.wake_fd = os.pipe()
        # Closed with this object and not by `stop`: a signal may still be written to it. And not by the interpreter's end,
        # whose callbacks may still have a run to close.
        weakref.finalize(self, _close, self._wake_read, self.wake_fd).atexit = False
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self.wake_fd, False)
        self._commands: list[tuple[str, dict[str, Any]]] = []
        self._run: str | None = None
        self._run_end: dict[str, Any] | None = None
        self._seq = self._sent = self._dropped_before = 0
        self._thread = threading.Thread(target=self._work, name="hookrun-courier", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def begin(self, run_begin: dict[str, Any]) -> None:
        """Begin a run: spans that enter the ring from now on belong to it."""
        self.finished = False
        self._command("begin", run_begin)

    def telemetry(self, body: dict[str, Any]) -> None:
        """Carry one look at the node, in order with the spans."""
        self._command("telemetry", body)

    def end(self, run_end: dict[str, Any]) -> None:
        """End the run once the ring is empty; the numbers of spans are filled in here."""
        self._command("end", run_end)

    def stop(self) -> None:
        """End the thread and close its socket."""
        self._command("stop", {})
        self._thread.join()

    def leftovers(self) -> Iterator[list[bytes]]:
        """Yield, after `stop`, batches of what never found room in the backlog."""
        while len(self._ring):
            yield self._batch()[1]

    @property
    def spans(self) -> int:
        """Return the spans of this run that left the ring."""
        return self._sent

    @property
    def dropped(self) -> int:
        """Return the spans of this run that the ring lost."""
        return self._ring.dropped - self._dropped_before

    def _command(self, name: str, body: dict[str, Any]) -> None:
        self._commands.append((name, body))
        os.write(self.wake_fd, b"\0")

    def _work(self) -> None:
        try:
            while self._turn():
                with self.changed:
                    self.changed.notify_all()
        except Exception as error:  # noqa: BLE001  inference must go on; the other thread reports it at the end of the run
            self.failure = error
        finally:
            if self._link is not None:
                self._link.close()
            with self.changed:
                self.changed.notify_all()

    def _turn(self) -> bool:
        """Wait for something to do, do it, and return whether to go on."""
        self._wait()
        if self._link is not None:
            self._link.handle()
        going = self._obey()
        self._drain()
        self._finish()
        if self._link is not None:
            self._link.send_due()
        return going

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_read, zmq.POLLIN)
        for socket in self._link.sockets() if self._link is not None else ():
            poller.register(socket, zmq.POLLIN)
        if self._wake_read in dict(poller.poll(self._period_ms)):
            for number in os.read(self._wake_read, 64):
                if number:
                    self.on_signal(number)

    def _obey(self) -> bool:
        while self._commands:
            name, body = self._commands.pop(0)
            if name == "stop":
                return False
            if name == "begin":
                self._begin(body)
            elif name == "telemetry":
                self._keep(events.pack("telemetry", body))
            else:
                self._run_end = body
        return True

    def _keep(self, frames: list[bytes]) -> None:
        if self._link is not None:
            self._link.session.outbox.put(frames[1])
        if self._file is not None:
            self._file.write(frames)

    def _begin(self, run_begin: dict[str, Any]) -> None:
        self._run, self._run_end = run_begin["run"], None
        self._seq = self._sent = 0
        self._dropped_before = self._ring.dropped
        if self._link is not None:
            self._link.session.backlog.restart()
            self._link.session.outbox.restart()
            self._link.session.arrivals.restart()
            self._link.begin(run_begin)
        if self._file is not None:
            self._file.write(events.pack("run_begin", {**run_begin, "resume": False}))

    def _drain(self) -> None:
        """Move spans out of the ring, as long as there is room for them: what stays in the ring is counted if it overflows."""
        while self._run is not None and len(self._ring) and (self._link is None or not self._link.session.backlog.full):
            batch, frames = self._batch()
            if self._link is not None:
                self._link.session.backlog.put(batch.seq, frames[1])
                self._link.session.arrivals.left(batch.seq, batch.columns)
            if self._file is not None:
                self._file.write(frames)
        if self._file is not None:
            self._file.flush()

    def _batch(self) -> tuple[SpanBatch, list[bytes]]:
        count, columns = self._ring.drain(BATCH)
        batch = SpanBatch(self._run or "", self._seq, count, self.dropped, columns)
        self._seq += 1
        self._sent += count
        return batch, events.pack("spans", batch.to_map())

    def _finish(self) -> None:
        if self._run is None or self._run_end is None or len(self._ring):
            return
        run_end = {**self._run_end, "spans": self._sent, "dropped": self.dropped}
        if self._link is not None:
            self._link.session.end(run_end)
        if self._file is not None:
            self._file.write(events.pack("run_end", run_end))
            self._file.close()
            self._file = None
        self._run = self._run_end = None
        self.finished = True


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
