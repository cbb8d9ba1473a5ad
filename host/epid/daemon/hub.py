"""The daemon's side of the nodes' wire: one ROUTER socket, a session for each node, requests answered in order."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from epi_protocol import PROTOCOL_VERSION, events
from epi_protocol.errors import ProtocolError

from ..clocks import ClockEstimator, Exchange, host_now_ns
from ..errors import EpidError, UsageError
from .board import BURST_PERIOD_NS, BURST_PINGS, LIVE_EXCHANGES, PING_LOST_NS, PING_PERIOD_NS
from .keyring import Doorkeeper, KeyRing
from .recorder import Closed, OpenRun, Recorder

POSTROLL_NS = 1_000_000_000
"""How long a run's file stays open after the run: the meter's averages lag behind what happened."""

SILENT_NS = 15_000_000_000
"""A node that neither speaks nor answers pings for this long is gone, and its runs are closed as aborted."""

_MAX_MESSAGE_BYTES = 16 << 20


@dataclass
class NodeSession:
    """One connected node; `identity` is its socket's address on the ROUTER."""

    identity: bytes
    node: str
    session: str
    host: str
    engine: str
    hello: dict[str, Any]
    heard_ns: int
    clock: ClockEstimator = field(default_factory=ClockEstimator)
    pending: dict[bytes, int] = field(default_factory=dict)
    sent: int = 0
    next_ping_ns: int = 0
    refused: int = 0


class Hub:
    """Takes the nodes' messages to the recorder, and pings the nodes. `status` is asked for what `epid status` shows."""

    def __init__(
        self,
        recorder: Recorder,
        endpoint: str,
        status: Callable[[], dict[str, Any]],
        say: Callable[[str], None],
        keys: KeyRing | None = None,
    ) -> None:
        self.recorder = recorder
        self.sessions: dict[bytes, NodeSession] = {}
        self.refused = 0
        self._status = status
        self._daemon_id = secrets.token_hex(8)
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        self._door: AsyncioAuthenticator | None = None
        if keys is not None:
            self._lock(keys, say)
        self.endpoint = self._bind(endpoint)

    async def serve(self) -> None:
        """Answer messages until cancelled."""
        while True:
            identity, *frames = await self._socket.recv_multipart()
            host_ns = host_now_ns()
            try:
                kind, body = events.unpack(frames)
                await self._handle(identity, kind, body, host_ns)
            except (ProtocolError, EpidError) as error:
                self.refused += 1
                self.recorder.note(1, f"refused a message of a node: {error}", host_ns)
                await self._send(identity, "refused", {"reason": str(error)})

    async def ping(self) -> None:
        """Send the pings that are due; close what silent nodes left open."""
        for session in list(self.sessions.values()):
            now_ns = host_now_ns()
            if now_ns - session.heard_ns > SILENT_NS:
                self._forget(session, "aborted: the node fell silent")
            elif now_ns >= session.next_ping_ns:
                session.pending = {n: t for n, t in session.pending.items() if now_ns - t < PING_LOST_NS}
                nonce = secrets.token_bytes(8)
                session.sent += 1
                session.pending[nonce] = now_ns = host_now_ns()
                session.next_ping_ns = now_ns + (BURST_PERIOD_NS if session.sent < BURST_PINGS else PING_PERIOD_NS)
                await self._send(session.identity, "ping", {"nonce": nonce})

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

    def close(self) -> None:
        """Close the socket; what was sent already still leaves."""
        self._socket.close()
        if self._door is not None:
            self._door.stop()
        self._context.term()

    def _lock(self, keys: KeyRing, say: Callable[[str], None]) -> None:
        """Let in only nodes whose key is on the ring."""
        self._door = AsyncioAuthenticator(self._context)
        self._door.start()
        self._door.configure_curve_callback(credentials_provider=Doorkeeper(keys, say))
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = keys.daemon_pair()

    async def _handle(self, identity: bytes, kind: str, body: dict[str, Any], host_ns: int) -> None:
        if kind == "status":
            await self._send(identity, "status", self._status())
        elif kind == "hello":
            await self._hello(identity, body, host_ns)
        else:
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
            run = self.recorder.open(session.node, body, host_ns)
            self.recorder.node(session.node, "hello", host_ns, {"body": session.hello})
            self._write_known_exchanges(session)
            await self._send(session.identity, "run_open", {"run": run.run, "path": str(run.writer.path)})
        elif kind == "run_end":
            opened = self.recorder.runs.get(str(body.get("run", "")))
            if opened is None or opened.node != session.node:
                raise UsageError(f"run_end for run {body.get('run')!r}, which is not open")
            self.recorder.end(opened, body, host_ns, POSTROLL_NS)
        elif kind == "bye":
            self._forget(session, "aborted: the node left")
        else:
            raise UsageError(f"{kind} is not a message that a node sends")

    async def _hello(self, identity: bytes, body: dict[str, Any], host_ns: int) -> None:
        events.check_version(body, "this node")
        node = str(body.get("node") or "")
        if not node:
            raise UsageError("hello without a node name")
        self.sessions[identity] = NodeSession(
            identity, node, str(body.get("session", "")), str(body.get("host", "")), str(body.get("engine", "")), body, host_ns
        )
        await self._send(identity, "welcome", {"protocol": PROTOCOL_VERSION, "daemon": self._daemon_id})

    def _pong(self, session: NodeSession, body: dict[str, Any], host_ns: int) -> None:
        t1_ns = session.pending.pop(body.get("nonce", b""), None)
        recv_ns, send_ns = body.get("recv_ns"), body.get("send_ns")
        if t1_ns is None or not isinstance(recv_ns, int) or not isinstance(send_ns, int):
            session.refused += 1
            return
        if session.clock.add(Exchange(t1_ns, recv_ns, send_ns, host_ns)):
            del session.clock.exchanges[:-LIVE_EXCHANGES]
            self._write_exchange(session, session.clock.exchanges[-1])

    def _write_known_exchanges(self, session: NodeSession) -> None:
        for exchange in session.clock.exchanges:
            self._write_exchange(session, exchange)

    def _write_exchange(self, session: NodeSession, exchange: Exchange) -> None:
        stamps = {"t1_ns": exchange.t1, "t2_ns": exchange.t2, "t3_ns": exchange.t3, "t4_ns": exchange.t4}
        self.recorder.node(session.node, "clock", exchange.t4, {"session": session.session, **stamps})

    def _sessions_of(self, run: OpenRun) -> list[NodeSession]:
        return [session for session in self.sessions.values() if session.node == run.node]

    def _forget(self, session: NodeSession, why: str) -> None:
        """Drop a session; its runs end now, unless another session of the same node goes on with them."""
        self.sessions.pop(session.identity, None)
        if any(other.node == session.node for other in self.sessions.values()):
            return
        for run in [run for run in self.recorder.runs.values() if run.node == session.node and run.end_body is None]:
            self.recorder.end(run, {"status": why}, host_now_ns(), 0)

    async def _send(self, identity: bytes, kind: str, body: dict[str, Any]) -> None:
        # A ROUTER drops what is meant for a peer that has gone: that peer reconnects and asks again.
        await self._socket.send_multipart([identity, *events.pack(kind, body)])

    def _bind(self, endpoint: str) -> str:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno == zmq.EADDRINUSE:
                raise UsageError(f"{endpoint} is taken: another epid is running, or choose another port with --listen") from error
            raise UsageError(f"cannot listen on {endpoint}: {zmq.strerror(error.errno or 0)}") from error
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))
