"""The daemon's side of the nodes' wire: a session for each node, requests answered in order."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from epi_protocol import PROTOCOL_VERSION, events
from epi_protocol.errors import ProtocolError

from ..clocks import Exchange, Jump, host_now_ns
from ..errors import EpidError, UsageError
from .gate import MAX_NAME, MAX_SESSIONS, check_run_begin, check_storable, node_name, short, text
from .keyring import KeyRing
from .node_session import NodeSession
from .node_socket import NodeSocket
from .open_run import Closed, OpenRun
from .pinger import Pinger
from .recorder import Recorder
from .windows import Windows

POSTROLL_NS = 1_000_000_000
"""How long a run's file stays open after the run: the meter's averages lag behind what happened."""

SILENT_NS = 15_000_000_000
"""A node that neither speaks nor answers pings for this long is gone, and its runs are closed as aborted."""

JUMP_BACK_NS = 1_000_000
"""A node's clock that jumps back by more than this ends the node's runs."""


class Hub:
    """Takes the nodes' messages to the recorder, and pings the nodes. `status` is asked for what `epid status` shows."""

    def __init__(
        self,
        recorder: Recorder,
        endpoint: str,
        status: Callable[[], dict[str, Any]],
        say: Callable[[str], None],
        windows: Windows,
        keys: KeyRing | None = None,
    ) -> None:
        self.recorder = recorder
        self.windows = windows
        self.sessions: dict[bytes, NodeSession] = {}
        self.refused = 0
        self._status, self._say = status, say
        self._daemon_id = secrets.token_hex(8)
        self._socket = NodeSocket(endpoint, keys, say)
        self.endpoint = self._socket.endpoint

    async def serve(self) -> None:
        """Answer messages until cancelled."""
        while True:
            identity, frames = await self._socket.receive()
            await self.take(identity, frames, host_now_ns())

    async def take(self, identity: bytes, frames: list[bytes], host_ns: int) -> None:
        """Do what one message asks for; one that cannot be done is refused in a sentence, and changes nothing."""
        try:
            kind, body = events.unpack(frames)
            await self._handle(identity, kind, body, host_ns)
        except (ProtocolError, EpidError) as error:
            reason = short(error)
            self.refused += 1
            self.recorder.note(1, f"refused a message of a node: {reason}", host_ns)
            await self._send(identity, "refused", {"reason": reason})

    async def ping(self) -> None:
        """Send the pings that are due; close what silent nodes left open."""
        for session in list(self.sessions.values()):
            now_ns = host_now_ns()
            if now_ns - session.heard_ns > SILENT_NS:
                self._forget(session, "aborted: the node fell silent")
            elif (nonce := session.pinger.due(now_ns)) is not None:
                await self._send(session.identity, "ping", {"nonce": nonce})

    def pingers(self) -> list[Pinger]:
        """The time exchanges of all nodes."""
        return [session.pinger for session in self.sessions.values()]

    async def tell_closed(self, closed: Closed) -> None:
        """Tell a run's node that its file is complete, or why it is not."""
        run = closed.run
        body = {"run": run.run, "path": str(run.writer.path), "spans": run.spans, "dropped": run.dropped, "status": closed.status}
        for session in self._sessions_of(run):
            await self._send(session.identity, "run_closed", body)

    async def tell_failed(self, failed: Closed) -> None:
        """Tell a run's node that its recording had to be given up."""
        for session in self._sessions_of(failed.run):
            await self._send(session.identity, "refused", {"reason": failed.status})

    async def acknowledge(self) -> None:
        """Acknowledge every batch that has reached the disk; call after a flush."""
        for run in self.recorder.runs.values():
            seqs = self.recorder.take_acks(run)
            for session in self._sessions_of(run):
                for seq in seqs:
                    await self._send(session.identity, "ack", {"run": run.run, "seq": seq})

    async def answer_windows(self) -> None:
        """Answer the windows that have ended and that the meter has been read after."""
        for client, answer in self.windows.done(host_now_ns()):
            await self._send(client, "window_closed", answer)

    def close(self) -> None:
        """Close the socket; what was sent already still leaves."""
        self._socket.close()

    async def _handle(self, identity: bytes, kind: str, body: dict[str, Any], host_ns: int) -> None:
        if kind == "status":
            await self._send(identity, "status", self._status())
        elif kind in ("window_begin", "window_end"):
            await self._window(identity, kind, body, host_ns)
        elif kind == "hello":
            await self._hello(identity, body, host_ns)
        else:
            if kind != "spans":
                check_storable(kind, body)
            session = self.sessions.get(identity)
            if session is None:
                raise UsageError(f"{kind} from a node that has not said hello")
            session.heard_ns = host_ns
            await self._from_node(session, kind, body, host_ns)

    async def _from_node(self, session: NodeSession, kind: str, body: dict[str, Any], host_ns: int) -> None:
        if kind == "pong":
            self._pong(session, body, host_ns)
        elif kind == "spans":
            self.recorder.spans(session.node, events.span_batch(body), host_ns)
        elif kind == "telemetry":
            events.readings(body)
            self.recorder.node(session.node, "telemetry", host_ns, {"body": body})
        elif kind == "run_begin":
            await self._run_begin(session, body, host_ns)
        elif kind == "run_end":
            self._run_end(session, body, host_ns)
        elif kind == "bye":
            self._forget(session, "aborted: the node left")
        else:
            raise UsageError(f"{kind} is not a message that a node sends")

    async def _run_begin(self, session: NodeSession, body: dict[str, Any], host_ns: int) -> None:
        check_run_begin(body)
        run = self.recorder.open(session.node, body, host_ns)
        self.recorder.node(session.node, "hello", host_ns, {"body": session.hello})
        for exchange in session.pinger.clock.exchanges:
            self._write_exchange(session, exchange)
        await self._send(session.identity, "run_open", {"run": run.run, "path": str(run.writer.path)})

    def _run_end(self, session: NodeSession, body: dict[str, Any], host_ns: int) -> None:
        opened = self.recorder.runs.get(str(body.get("run", "")))
        if opened is None or opened.node != session.node:
            raise UsageError(f"run_end for run {body.get('run')!r}, which is not open")
        self.recorder.end(opened, body, host_ns, POSTROLL_NS)

    async def _window(self, identity: bytes, kind: str, body: dict[str, Any], host_ns: int) -> None:
        if kind == "window_end":
            self.windows.end(identity, body, host_ns)
            return
        window = self.windows.begin(identity, body, host_ns)
        await self._send(identity, "window_open", {"window": window.window, "host_ns": host_ns})

    async def _hello(self, identity: bytes, body: dict[str, Any], host_ns: int) -> None:
        events.check_version(body, "this node")
        check_storable("hello", body)
        if identity not in self.sessions and len(self.sessions) >= MAX_SESSIONS:
            raise UsageError(f"{MAX_SESSIONS} nodes are connected already; this daemon takes no more")
        session, host, engine = (text(body, key, MAX_NAME) for key in ("session", "host", "engine"))
        self.sessions[identity] = NodeSession(identity, node_name(body), session, host, engine, body, host_ns)
        await self._send(identity, "welcome", {"protocol": PROTOCOL_VERSION, "daemon": self._daemon_id})

    def _pong(self, session: NodeSession, body: dict[str, Any], host_ns: int) -> None:
        nonce, recv_ns, send_ns = body.get("nonce"), body.get("recv_ns"), body.get("send_ns")
        if not isinstance(nonce, bytes) or not isinstance(recv_ns, int) or not isinstance(send_ns, int):
            raise ProtocolError(f"pong of node {session.node} without a nonce and two times")
        exchange = session.pinger.answer(nonce, recv_ns, send_ns, host_ns)
        if exchange is None:
            session.refused += 1
            return
        self._write_exchange(session, exchange)
        jump = session.pinger.take_jump()
        if jump is not None:
            self._jumped(session, jump, host_ns)

    def _jumped(self, session: NodeSession, jump: Jump, host_ns: int) -> None:
        """Say that a node's clock jumped; after a jump back its spans would stand for two times at once, so its runs end."""
        text = f"the clock of node {session.node} jumped by {jump} against this computer's"
        self._say(text)
        self.recorder.note(1, text, host_ns)
        if jump.jump_ns < -JUMP_BACK_NS:
            self._abort_runs(session, f"aborted: {text}")

    def _write_exchange(self, session: NodeSession, exchange: Exchange) -> None:
        stamps = {"t1_ns": exchange.t1, "t2_ns": exchange.t2, "t3_ns": exchange.t3, "t4_ns": exchange.t4}
        self.recorder.node(session.node, "clock", exchange.t4, {"session": session.session, **stamps})

    def _sessions_of(self, run: OpenRun) -> list[NodeSession]:
        return [session for session in self.sessions.values() if session.node == run.node]

    def _forget(self, session: NodeSession, why: str) -> None:
        """Drop a session; its runs end now, unless another session of the same node goes on with them."""
        self.sessions.pop(session.identity, None)
        if not any(other.node == session.node for other in self.sessions.values()):
            self._abort_runs(session, why)

    def _abort_runs(self, session: NodeSession, why: str) -> None:
        for run in [run for run in self.recorder.runs.values() if run.node == session.node and run.end_body is None]:
            self.recorder.end(run, {"status": why}, host_now_ns(), 0)

    async def _send(self, identity: bytes, kind: str, body: dict[str, Any]) -> None:
        await self._socket.send(identity, kind, body)
