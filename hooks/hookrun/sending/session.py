"""The node's half of the conversation with the daemon, without any I/O: messages in, messages out.

    AWAY ──connected──▶ GREETING ──welcome──▶ READY ──run_begin──▶ OPENING ──run_open──▶ RECORDING ──run_end──▶ CLOSING
                                                                                                    run_closed ──▶ READY

A lost connection leads from anywhere back to AWAY; after the next welcome an unfinished run is opened again with
`resume: true` and every batch without an ack is sent again, so the daemon has each one once and in order; telemetry that is not
known to have arrived is sent again too, and may arrive twice, with the same `node_ns`. REFUSED is final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from epi_protocol import events
from epi_protocol.errors import ProtocolError

from .arrivals import Arrivals
from .backlog import Backlog
from .outbox import Outbox

Message = list[bytes]


class State(StrEnum):
    """Where the conversation stands."""

    AWAY = "no daemon"
    GREETING = "waiting for the daemon's welcome"
    READY = "known to the daemon, no run open"
    OPENING = "waiting for the daemon to open the run"
    RECORDING = "the daemon records"
    CLOSING = "waiting for the daemon to close the run"
    REFUSED = "refused by the daemon"


class Session:
    """One node's session over any number of connections. Backlog and outbox hold batches and telemetry not known to be there."""

    def __init__(self, hello: Message, backlog: Backlog, clock: Callable[[], int]) -> None:
        self.state = State.AWAY
        self.refusal: str | None = None
        self.path: str | None = None
        """Of the run file, as the daemon calls it."""
        self.backlog = backlog
        self.outbox = Outbox()
        self.arrivals = Arrivals()
        self._hello, self._clock = hello, clock
        self._run_begin: dict[str, Any] | None = None
        self._run_end: dict[str, Any] | None = None
        self._opened = False

    @property
    def progress(self) -> tuple[State, int, int]:
        """Return what changes whenever the daemon has taken something."""
        return self.state, len(self.backlog), len(self.outbox)

    @property
    def settled(self) -> bool:
        """Return whether nothing is left to say: the run is complete at the daemon, or will never be."""
        return self.state is State.REFUSED or self._run_begin is None

    def connected(self) -> list[Message]:
        """A connection stands: introduce ourselves."""
        if self.state is State.REFUSED:
            return []
        self.state = State.GREETING
        return [self._hello]

    def disconnected(self) -> None:
        """The connection is gone, with everything that was under way on it."""
        self.backlog.rewind()
        self.outbox.rewind()
        if self.state is not State.REFUSED:
            self.state = State.AWAY

    def turned_away(self, with_key: bool) -> None:
        """The daemon's door stayed shut."""
        if with_key:
            self._refuse("this node's key is not known there; was it revoked, or is it another daemon?")
        else:
            self._refuse("it asks for a key; make one there with `epid keys new` and name it here with --key")

    def begin(self, run_begin: Mapping[str, Any]) -> list[Message]:
        """Open a run, now or as soon as the daemon knows us; `resume` true: another process has opened it before."""
        self._run_begin, self._run_end, self.path = dict(run_begin), None, None
        self._opened = bool(run_begin.get("resume"))
        return self._open() if self.state is State.READY else []

    def end(self, run_end: Mapping[str, Any]) -> None:
        """Close the run once every batch has its ack; `due` says it."""
        self._run_end = dict(run_end)

    def due(self) -> list[Message]:
        """Return what may be said now: telemetry, batches within the window, or the end of the run after the last ack."""
        if self.state is not State.RECORDING:
            return []
        messages = []
        while (packed := self.outbox.take(self.backlog.next_seq)) is not None:
            messages.append([b"telemetry", packed])
        while (packed := self.backlog.take()) is not None:
            messages.append([b"spans", packed])
        if self._run_end is not None and not self.backlog:
            self.state = State.CLOSING
            messages.append(events.pack("run_end", self._run_end))
        return messages

    def received(self, frames: Message, recv_ns: int) -> list[Message]:
        """Take one message, received at `recv_ns` of the node's clock, and return the answers."""
        try:
            kind, body = events.unpack(frames)
            return self._take(kind, body, recv_ns)
        except ProtocolError as error:
            self._refuse(str(error))
            return []

    def _take(self, kind: str, body: Mapping[str, Any], recv_ns: int) -> list[Message]:
        if kind == "ping":
            return [events.pack("pong", {"nonce": body.get("nonce"), "recv_ns": recv_ns, "send_ns": self._clock()})]
        if kind == "welcome":
            return self._welcomed(body)
        if kind == "refused":
            self._refuse(str(body.get("reason") or "the daemon gives no reason"))
        elif kind in ("run_open", "ack", "run_closed") and self._is_ours(body):
            self._about_run(kind, body, recv_ns)
        return []

    def _welcomed(self, body: Mapping[str, Any]) -> list[Message]:
        events.check_version(body, "the daemon")
        if self.state is not State.GREETING:
            return []
        self.state = State.READY
        return self._open() if self._run_begin is not None else []

    def _open(self) -> list[Message]:
        self.state = State.OPENING
        return [events.pack("run_begin", {**(self._run_begin or {}), "resume": self._opened})]

    def _is_ours(self, body: Mapping[str, Any]) -> bool:
        return self._run_begin is not None and body.get("run") == self._run_begin["run"]

    def _about_run(self, kind: str, body: Mapping[str, Any], recv_ns: int) -> None:
        if kind == "run_open" and self.state is State.OPENING:
            self.state, self._opened, self.path = State.RECORDING, True, body.get("path")
        elif kind == "ack":
            seq = int(body.get("seq", -1))
            self.backlog.ack(seq)
            self.outbox.ack(seq)
            self.arrivals.confirmed(seq, recv_ns)
        elif kind == "run_closed":
            self.state, self._run_begin, self.path = State.READY, None, body.get("path", self.path)
            self.outbox.settle()

    def _refuse(self, reason: str) -> None:
        self.state, self.refusal = State.REFUSED, reason
