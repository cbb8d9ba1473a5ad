"""Telemetry from the node to the daemon and the file: in order, kept while the daemon is away, counted where it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_protocol import PROTOCOL_VERSION, events
from hookrun.node.telemetry import Telemetry
from hookrun.sending.backlog import Backlog
from hookrun.sending.outbox import Outbox
from hookrun.sending.recording import Recording
from hookrun.sending.session import Session

Make = Callable[..., Any]
STEPS = st.lists(st.sampled_from(["put", "put", "batch", "take", "ack", "rewind"]), max_size=80)


@given(STEPS, st.integers(1, 6))
def test_every_message_arrives_in_order_or_is_counted(steps: list[str], capacity: int) -> None:
    """The wire here loses what was sent and has no ack yet; a message may come twice, but is never lost uncounted."""
    outbox = Outbox(capacity)
    put = batch = 0
    under_way: list[tuple[str, int]] = []
    arrived: list[int] = []
    for step in [*steps, "rewind", "take", "batch", "ack"]:
        if step == "put":
            outbox.put(str(put).encode())
            put += 1
        elif step == "take":
            while (packed := outbox.take(batch)) is not None:
                under_way.append(("message", int(packed)))
        elif step == "batch":
            under_way.append(("batch", batch))
            batch += 1
        elif step == "ack":
            acked = max((number for kind, number in under_way if kind == "batch"), default=None)
            if acked is not None:
                place = under_way.index(("batch", acked))
                arrived += [number for kind, number in under_way[:place] if kind == "message"]
                del under_way[: place + 1]
                outbox.ack(acked)
        else:
            under_way.clear()
            outbox.rewind()
        assert len(outbox) <= capacity
    assert len(outbox) == 0
    assert len(set(range(put)) - set(arrived)) <= outbox.dropped
    firsts = list(dict.fromkeys(arrived))
    assert firsts == sorted(firsts)


def test_a_full_outbox_loses_the_oldest_and_says_so() -> None:
    outbox = Outbox(3)
    for number in range(5):
        outbox.put(str(number).encode())
    assert (list(outbox), outbox.dropped) == ([b"2", b"3", b"4"], 2)
    outbox.restart()
    assert (list(outbox), outbox.dropped) == ([], 0)


def opened(session: Session) -> None:
    session.connected()
    session.received(events.pack("welcome", {"protocol": PROTOCOL_VERSION, "daemon": "d"}), 0)
    session.received(events.pack("run_open", {"run": "abc", "path": "p"}), 0)


def test_a_session_says_telemetry_ahead_of_later_batches_and_again_on_a_new_connection() -> None:
    session = Session(events.hello("n", "s", "h", 1, "e"), Backlog(), lambda: 0)
    session.begin({"run": "abc"})
    session.outbox.put(b"early")
    opened(session)
    session.backlog.put(0, b"batch 0")
    assert session.due() == [[b"telemetry", b"early"], [b"spans", b"batch 0"]]
    session.outbox.put(b"late")
    assert session.due() == [[b"telemetry", b"late"]]
    session.received(events.pack("ack", {"run": "abc", "seq": 0}), 0)
    session.disconnected()
    opened(session)
    session.end({"run": "abc"})
    assert [kind for kind, _body in session.due()] == [b"telemetry", b"run_end"]
    session.received(events.pack("run_closed", {"run": "abc"}), 0)
    assert (len(session.outbox), session.settled) == (0, True)


def test_looks_go_to_the_daemon_and_the_file_on_their_grid(fake_daemon: Make, tmp_path: Path) -> None:
    daemon, out = fake_daemon(), tmp_path / "run.events"
    recording = Recording(engine="test", daemon=daemon.address, out=out)
    run = recording.begin("r", {}, {})
    looks = iter(range(1000))
    with Telemetry(recording, lambda: {"load": float(next(looks))}, period_s=0.02):
        time.sleep(0.3)
    outcome = recording.end("complete")
    assert outcome.problems == ()
    live = daemon.bodies("telemetry")
    with out.open("rb") as file:
        stored = [body for kind, body in msgpack.Unpacker(file) if kind == "telemetry"]
    assert live == stored
    assert [events.readings(body)["load"] for body in live] == [float(number) for number in range(len(live))]
    assert len(live) >= 3
    assert all(body["run"] == run for body in live)
    assert [body["node_ns"] for body in live] == sorted(body["node_ns"] for body in live)


def test_a_daemon_that_was_away_gets_every_look(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address)
    recording.begin("r", {}, {})
    for number in range(40):
        if number == 10:
            daemon.die()
        if number == 30:
            daemon.start()
        recording.telemetry({"load": float(number)})
        time.sleep(0.02)
    assert recording.end("complete").problems == ()
    heard = [body["readings"]["load"] for body in daemon.bodies("telemetry")]
    assert list(dict.fromkeys(heard)) == [float(number) for number in range(40)]


def test_what_never_arrived_is_kept_in_the_file_and_losses_are_told(
    fake_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hookrun.sending.session.Outbox", lambda: Outbox(5))
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address)
    recording.begin("r", {}, {})
    daemon.die()
    time.sleep(0.3)
    for number in range(12):
        recording.telemetry({"load": float(number)})
    outcome = recording.end("complete", patience_s=0.5)
    assert any("7 looks at the node were lost" in problem for problem in outcome.problems)
    (kept,) = tmp_path.glob("hookrun-*.events")
    with kept.open("rb") as file:
        loads = [body["readings"]["load"] for kind, body in msgpack.Unpacker(file) if kind == "telemetry"]
    assert loads == [7.0, 8.0, 9.0, 10.0, 11.0]


def test_a_node_that_tells_nothing_sends_nothing(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address)
    recording.begin("r", {}, {})
    with Telemetry(recording, dict, period_s=0.01):
        time.sleep(0.05)
    recording.end("complete")
    assert daemon.bodies("telemetry") == []
