"""One run from its first message to the confirmation that it is stored: what a measuring program holds in its hands."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epi_protocol import events

from ..clock import node_ns
from ..errors import HookrunError
from .arrivals import Arrival
from .backlog import Backlog
from .courier import Courier
from .eventfile import EventFile
from .link import DaemonLink
from .node_key import NodeKey
from .ring import SpanRing
from .session import Session, State

WELCOME_S = 3.0
OPEN_S = 10.0
CLOSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run: spans taken and lost, and where they are. `problems` are sentences; without any, all is stored.

    `arrival` is None where no daemon has confirmed a token.
    """

    run: str
    status: str
    spans: int
    dropped: int
    daemon_path: str | None
    file_path: str | None
    problems: tuple[str, ...]
    arrival: Arrival | None = None


class Recording:
    """Carries one run's spans to the daemon, to a file, to both or (for a look at the speed) to neither."""

    def __init__(
        self,
        *,
        engine: str,
        node: str | None = None,
        daemon: str | None = None,
        out: Path | None = None,
        ring: SpanRing | None = None,
        backlog: Backlog | None = None,
        clock: Callable[[], int] = node_ns,
        key: NodeKey | None = None,
    ) -> None:
        """Connect; HookrunError where the daemon is away, of another protocol, or refuses this node."""
        self.node = node or socket.gethostname()
        self.ring = SpanRing() if ring is None else ring
        self.run: str | None = None
        self._clock = clock
        self._hello = events.hello(self.node, secrets.token_hex(8), socket.gethostname(), os.getpid(), engine)
        self._file = EventFile(out, self._hello) if out is not None else None
        self._session: Session | None = None
        link = None
        if daemon is not None:
            self._session = Session(self._hello, Backlog() if backlog is None else backlog, clock)
            link = DaemonLink(daemon, self._session, clock, key)
        self.courier = Courier(self.ring, link, self._file)
        self.courier.start()
        if daemon is not None:
            self._greet(daemon)

    def begin(self, label: str, settings: Mapping[str, Any], model: Mapping[str, Any]) -> str:
        """Open the run and return its id; HookrunError where the daemon refuses it."""
        self.run = secrets.token_hex(8)
        self._run_begin = {
            "run": self.run,
            "label": label,
            "node_ns": self._clock(),
            "settings": dict(settings),
            "model": dict(model),
        }
        self.courier.begin(self._run_begin)
        session = self._session
        if session is not None and not self._wait(lambda: session.state in (State.RECORDING, State.REFUSED), OPEN_S):
            self.close()
            raise HookrunError(f"the daemon has not opened the run within {OPEN_S:g} s; its own messages say why")
        self._raise_refusal()
        return self.run

    def telemetry(self, readings: Mapping[str, float]) -> None:
        """Send one look at the node, taken now; may be called on any thread while a run is open."""
        if self.courier.failure is None:
            self.courier.telemetry({"run": self.run, "node_ns": self._clock(), "readings": dict(readings)})

    def end(self, status: str, patience_s: float = CLOSE_S) -> Outcome:
        """Close the run with `status` ("complete" or "aborted") and wait, at most `patience_s`, until it is stored."""
        run_end = {"run": self.run, "node_ns": self._clock(), "status": status}
        self.courier.end(run_end)
        session = self._session
        self._wait(lambda: self.courier.finished and (session is None or session.settled), patience_s)
        self.courier.stop()
        problems = self._problems(run_end)
        return Outcome(
            run=self.run or "",
            status=status,
            spans=self.courier.spans,
            dropped=self.courier.dropped,
            daemon_path=session.path if session is not None else None,
            file_path=str(self._file.path) if self._file is not None and self._file.failure is None else None,
            problems=tuple(problems),
            arrival=session.arrivals.summary() if session is not None else None,
        )

    def close(self) -> None:
        """Give up before anything was measured; no file stays behind."""
        self.courier.stop()
        if self._file is not None:
            self._file.discard()

    def _greet(self, address: str) -> None:
        session = self._session
        assert session is not None
        self._wait(lambda: session.state in (State.READY, State.REFUSED), WELCOME_S)
        if session.state is State.AWAY:
            self.close()
            raise HookrunError(
                f"no daemon answers at {address}; start it with `epid serve`, or measure without it: --no-daemon or --out FILE"
            )
        if session.state is State.GREETING:
            self.close()
            raise HookrunError(f"what listens at {address} does not answer as the daemon does; check the address and its port")
        self._raise_refusal()

    def _raise_refusal(self) -> None:
        if self._session is not None and self._session.state is State.REFUSED:
            self.close()
            raise HookrunError(f"the daemon refuses: {self._session.refusal}")

    def _wait(self, reached: Callable[[], bool], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        with self.courier.changed:
            while not reached() and self.courier.failure is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.courier.changed.wait(left)
        return self.courier.failure is None

    def _problems(self, run_end: Mapping[str, Any]) -> list[str]:
        problems = []
        if self.courier.failure is not None:
            problems.append(f"the thread that sends spans failed: {self.courier.failure!r}")
        if self.courier.dropped:
            problems.append(f"{self.courier.dropped} spans were lost because the ring was full")
        if self._file is not None and self._file.failure is not None:
            problems.append(self._file.failure)
        session = self._session
        if session is not None and session.outbox.dropped:
            problems.append(f"{session.outbox.dropped} looks at the node were lost because the daemon was away too long")
        if session is not None and (session.refusal is not None or not session.settled):
            why = f"the daemon refused: {session.refusal}" if session.refusal else "the daemon did not confirm the end of the run"
            problems.append(
                f"{why}; what it has not acknowledged is kept in {self._keep(session, run_end)}, for `hookrun deliver`"
            )
        return problems

    def _keep(self, session: Session, run_end: Mapping[str, Any]) -> Path:
        """Write what the daemon lacks into an event file: here, or among the temporary files where this folder is closed."""
        name = f"hookrun-{self.run}.events"
        folder = Path.cwd() if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir())
        file = EventFile(folder / name, self._hello)
        file.write(events.pack("run_begin", {**self._run_begin, "resume": True}))
        for packed in session.outbox:
            file.write([b"telemetry", packed])
        for packed in session.backlog:
            file.write([b"spans", packed])
        for frames in self.courier.leftovers():
            file.write(frames)
        file.write(events.pack("run_end", {**run_end, "spans": self.courier.spans, "dropped": self.courier.dropped}))
        file.close()
        session.backlog.close()
        return file.path
