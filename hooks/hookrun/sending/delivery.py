"""Hands a run from an event file to the daemon: in order, each batch until its ack, and what was taken never again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgpack
import zmq

from epi_protocol import events

from ..clock import node_ns
from ..errors import HookrunError
from .backlog import WINDOW, Backlog
from .eventfile import EventFile
from .kept import KeptRun
from .link import DaemonLink
from .node_key import NodeKey
from .session import Session

PATIENCE_S = 10.0
"""Without a word from the daemon for so long, a delivery is given up."""
SUFFIX = ".delivered"
_POLL_MS = 100


class Delivery:
    """One run on its way. What the daemon has not taken stays in the file, which gets another name once that is nothing."""

    def __init__(self, run: KeptRun, address: str, key: NodeKey | None = None) -> None:
        self._run, self._address = run, address
        self._session = Session(run.hello_frames, Backlog(), node_ns)
        self._left = run.between()
        self._taken = False
        self._link = DaemonLink(address, self._session, node_ns, key)

    def carry(self, patience_s: float = PATIENCE_S) -> str | None:
        """Deliver everything and return the daemon's path of the run; HookrunError where that could not be finished."""
        session = self._session
        try:
            self._link.begin(dict(self._run.run_begin))
            self._talk(patience_s)
        finally:
            self._link.close()
            if session.settled and session.refusal is None:
                self._run.path.replace(self._run.path.with_name(self._run.path.name + SUFFIX))
            elif self._taken:
                self._keep_the_rest()
        if not session.settled or session.refusal is not None:
            why = session.refusal or "no answer; is it `epid serve` that listens there?"
            raise HookrunError(f"{self._address}: {why}; what was not delivered is still in {self._run.path}")
        return session.path

    def _talk(self, patience_s: float) -> None:
        session, before, heard_s = self._session, None, time.monotonic()
        while not session.settled and time.monotonic() - heard_s < patience_s:
            poller = zmq.Poller()
            for socket in self._link.sockets():
                poller.register(socket, zmq.POLLIN)
            poller.poll(_POLL_MS)
            waiting = len(session.backlog)
            self._link.handle()
            self._taken = self._taken or len(session.backlog) < waiting
            self._load()
            self._link.send_due()
            if session.progress != before:
                before, heard_s = session.progress, time.monotonic()

    def _load(self) -> None:
        """Have a little more at hand than may be under way."""
        while len(self._session.backlog) < 2 * WINDOW:
            message = next(self._left, None)
            if message is None:
                self._session.end(self._run.run_end)
                return
            kind, body = message
            packed = events.pack(kind, body)[1]
            if kind == "spans":
                self._session.backlog.put(int(body["seq"]), packed)
            else:
                self._session.outbox.put(packed)

    def _keep_the_rest(self) -> None:
        """Write the file anew, without what the daemon has."""
        file = EventFile(self._run.path, self._run.hello_frames)
        file.write(events.pack("run_begin", {**self._run.run_begin, "resume": True}))
        for kind, body in [
            *_unpacked("telemetry", self._session.outbox),
            *_unpacked("spans", self._session.backlog),
            *self._left,
        ]:
            file.write(events.pack(kind, body))
        file.write(events.pack("run_end", self._run.run_end))
        file.close()


def _unpacked(kind: str, packed: Iterator[bytes] | Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for body in packed:
        yield kind, msgpack.unpackb(body)
