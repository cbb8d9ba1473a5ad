"""The conversation without a wire: the test is the wire, and may cut it anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol import PROTOCOL_VERSION, events
from hookrun.sending.backlog import Backlog
from hookrun.sending.session import Session, State

RUN = {"run": "abc", "label": "test", "node_ns": 1, "settings": {}, "model": {}}


class Daemon:
    """What the daemon must do with the messages of one run, over any number of connections."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.begun: list[bool] = []
        self.ended = False

    def answer(self, frames: list[bytes]) -> list[list[bytes]]:
        kind, body = events.unpack(frames)
        if kind == "hello":
            return [events.pack("welcome", {"protocol": PROTOCOL_VERSION, "daemon": "test"})]
        if kind == "run_begin":
            self.begun.append(body["resume"])
            return [events.pack("run_open", {"run": body["run"], "path": "abc.mcap"})]
        if kind == "spans":
            if body["seq"] not in self.stored:
                self.stored.append(body["seq"])
            return [events.pack("ack", {"run": body["run"], "seq": body["seq"]})]
        assert kind == "run_end"
        self.ended = True
        return [events.pack("run_closed", {"run": body["run"], "path": "abc.mcap"})]


class Wire:
    """Two queues in order; a cut loses whatever is still in them."""

    def __init__(self, session: Session, daemon: Daemon) -> None:
        self.session, self.daemon = session, daemon
        self.out: list[list[bytes]] = []
        self.back: list[list[bytes]] = []
        self.up = False

    def step(self, what: str) -> None:
        if what == "cut" and self.up:
            self.out, self.back, self.up = [], [], False
            self.session.disconnected()
        elif what == "connect" and not self.up:
            self.up = True
            self.out += self.session.connected()
        elif what == "say" and self.up:
            self.out += self.session.due()
        elif what == "carry" and self.out:
            self.back += self.daemon.answer(self.out.pop(0))
        elif what == "hear" and self.back:
            self.out += self.session.received(self.back.pop(0), 7)


def new_session() -> Session:
    return Session(events.hello("node", "session", "host", 1, "engine"), Backlog(), lambda: 99)


def batch(seq: int) -> bytes:
    return events.pack("spans", {"run": "abc", "seq": seq, "count": 0, "dropped": 0, "columns": {}})[1]


@given(st.lists(st.sampled_from(["cut", "connect", "say", "carry", "carry", "hear", "hear", "batch", "batch"]), max_size=120))
def test_every_batch_arrives_once_and_in_order_whatever_breaks(steps: list[str]) -> None:
    session, daemon = new_session(), Daemon()
    wire = Wire(session, daemon)
    wire.out += session.begin(RUN)
    batches = 0
    for step in steps:
        if step == "batch":
            session.backlog.put(batches, batch(batches))
            batches += 1
        wire.step(step)
    session.end({"run": "abc", "node_ns": 2, "status": "complete"})
    for _ in range(4 * batches + 20):
        for step in ("connect", "say", "carry", "hear", "carry", "hear"):
            wire.step(step)
    assert session.settled
    assert daemon.ended
    assert daemon.stored == list(range(batches))
    assert daemon.begun[0] is False or len(daemon.begun) == 1
    assert session.path == "abc.mcap"


def test_a_ping_is_answered_with_both_of_the_nodes_times() -> None:
    (answer,) = new_session().received(events.pack("ping", {"nonce": 5}), recv_ns=42)
    assert events.unpack(answer) == ("pong", {"nonce": 5, "recv_ns": 42, "send_ns": 99})


def greeted() -> Session:
    session = new_session()
    session.connected()
    session.received(events.pack("welcome", {"protocol": PROTOCOL_VERSION, "daemon": "d"}), 0)
    assert session.state is State.READY
    return session


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (events.pack("welcome", {"protocol": PROTOCOL_VERSION + 1, "daemon": "d"}), "bring both to the same release"),
        (events.pack("refused", {"reason": "the disk is full"}), "the disk is full"),
        (events.pack("refused"), "gives no reason"),
        ([b"welcome", b"\xc1"], "not msgpack"),
        ([b"what", b"\x80"], "unknown kind"),
        ([b"welcome"], "message of 1 parts"),
    ],
)
def test_what_the_daemon_will_not_or_cannot_do_is_final(message: list[bytes], reason: str) -> None:
    session = new_session()
    session.connected()
    assert session.received(message, 0) == []
    assert session.state is State.REFUSED
    assert reason in str(session.refusal)
    session.disconnected()
    assert session.connected() == []
    assert session.state is State.REFUSED


def test_messages_about_other_runs_are_not_ours() -> None:
    session = greeted()
    (begin,) = session.begin(RUN)
    assert events.unpack(begin)[1]["resume"] is False
    session.received(events.pack("run_open", {"run": "other", "path": "x"}), 0)
    assert session.state is State.OPENING
    session.received(events.pack("run_open", {"run": "abc", "path": "p"}), 0)
    session.backlog.put(0, batch(0))
    assert len(session.due()) == 1
    session.received(events.pack("ack", {"run": "other", "seq": 0}), 0)
    assert len(session.backlog) == 1
    session.received(events.pack("ack", {"run": "abc", "seq": 0}), 0)
    assert len(session.backlog) == 0


def test_an_opened_run_is_resumed_with_everything_not_acknowledged() -> None:
    session = greeted()
    session.begin(RUN)
    session.received(events.pack("run_open", {"run": "abc", "path": "p"}), 0)
    for seq in range(3):
        session.backlog.put(seq, batch(seq))
    assert len(session.due()) == 3
    session.received(events.pack("ack", {"run": "abc", "seq": 0}), 0)
    session.disconnected()
    assert session.due() == []
    (hello,) = session.connected()
    assert events.unpack(hello)[1]["session"] == "session"
    (begin,) = session.received(events.pack("welcome", {"protocol": PROTOCOL_VERSION}), 0)
    assert events.unpack(begin)[1] == {**RUN, "resume": True}
    session.received(events.pack("run_open", {"run": "abc", "path": "p"}), 0)
    assert [seq_of(message) for message in session.due()] == [1, 2]


def seq_of(message: list[bytes]) -> Any:
    return events.unpack(message)[1]["seq"]
