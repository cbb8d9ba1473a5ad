"""Recording over real sockets: a daemon that answers, refuses, dies and comes back, and the file beside it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from epi_protocol import PROTOCOL_VERSION, events
from hookrun.errors import HookrunError
from hookrun.sending import recording as recording_module
from hookrun.sending.backlog import Backlog
from hookrun.sending.recording import Recording
from hookrun.sending.ring import SpanRing

Make = Callable[..., Any]


def until(reached: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def push(recording: Recording, first: int, count: int) -> None:
    for number in range(first, first + count):
        recording.ring.push("token", number, number + 1, phase=4, request=0, token=number, count=1)


def tokens(batches: list[events.SpanBatch]) -> list[int]:
    return [row["token"] for batch in batches for row in batch.rows()]


def messages(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        return [(kind, body) for kind, body in msgpack.Unpacker(file)]


def test_a_run_from_hello_to_run_closed(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    daemon.ping_every = 2
    recording = Recording(engine="test 1", node="pi5-a", daemon=daemon.address)
    run = recording.begin("base", {"threads": 4}, {"name": "m"})
    push(recording, 0, 100)
    outcome = recording.end("complete")
    assert (outcome.spans, outcome.dropped, outcome.problems) == (100, 0, ())
    assert outcome.daemon_path == f"{run}.mcap"
    assert daemon.kinds()[:2] == ["hello", "run_begin"]
    assert daemon.kinds()[-1] in ("bye", "pong", "run_end")
    (hello,), (begin,), (end,) = (daemon.bodies(kind) for kind in ("hello", "run_begin", "run_end"))
    assert (hello["node"], hello["engine"], hello["protocol"]) == ("pi5-a", "test 1", PROTOCOL_VERSION)
    assert (begin["label"], begin["settings"], begin["model"], begin["resume"]) == ("base", {"threads": 4}, {"name": "m"}, False)
    assert (end["status"], end["spans"], end["dropped"]) == ("complete", 100, 0)
    assert begin["node_ns"] < end["node_ns"]
    assert tokens(list(daemon.batches.values())) == list(range(100))
    for pong in daemon.bodies("pong"):
        assert begin["node_ns"] - 10**10 < pong["recv_ns"] <= pong["send_ns"]
    assert daemon.bodies("pong")


def test_pings_are_answered_while_nothing_else_happens(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    daemon.ping_every = 1  # every pong brings the next ping
    recording = Recording(engine="test", daemon=daemon.address)
    until(lambda: len(daemon.bodies("pong")) > 50)
    recording.close()
    nonces = [pong["nonce"] for pong in daemon.bodies("pong")]
    assert nonces == sorted(set(nonces))


def test_a_daemon_that_dies_gets_everything_when_it_is_back(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address, backlog=Backlog(memory_bytes=100))
    recording.begin("r", {}, {})
    push(recording, 0, 50)
    until(lambda: sum(batch.count for batch in daemon.batches.values()) == 50)
    daemon.die()
    for step in range(5):
        push(recording, 50 + 10 * step, 10)
        time.sleep(0.25)
    daemon.start()
    push(recording, 100, 50)
    outcome = recording.end("complete")
    assert outcome.problems == ()
    assert [daemon.batches[seq].seq for seq in sorted(daemon.batches)] == list(range(len(daemon.batches)))
    assert tokens([daemon.batches[seq] for seq in sorted(daemon.batches)]) == list(range(150))
    assert list(daemon.batches) == sorted(daemon.batches)
    sessions = {body["session"] for body in daemon.bodies("hello")}
    assert len(sessions) == 1
    assert [body["resume"] for body in daemon.bodies("run_begin")][:1] == [False]
    assert all(body["resume"] for body in daemon.bodies("run_begin")[1:])
    assert len(daemon.bodies("run_begin")) >= 2


def test_what_a_daemon_never_acknowledged_is_kept_in_a_file(
    fake_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address)
    run = recording.begin("r", {}, {})
    push(recording, 0, 20)
    until(lambda: sum(batch.count for batch in daemon.batches.values()) == 20)
    daemon.die()
    push(recording, 20, 30)
    outcome = recording.end("complete", patience_s=0.5)
    assert len(outcome.problems) == 1
    assert f"hookrun-{run}.events" in outcome.problems[0]
    kept = messages(tmp_path / f"hookrun-{run}.events")
    assert [kind for kind, _body in kept][:3] == ["events", "hello", "run_begin"]
    assert kept[2][1]["resume"] is True
    late = [events.span_batch(body) for kind, body in kept if kind == "spans"]
    assert tokens(list(daemon.batches.values())) + tokens([b for b in late if b.seq not in daemon.batches]) == list(range(50))
    assert kept[-1] == ("run_end", {**kept[-1][1], "status": "complete", "spans": 50, "dropped": 0})


def test_a_full_ring_and_a_full_backlog_count_what_they_lose(
    fake_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = fake_daemon(acks=False)
    backlog = Backlog(memory_bytes=1000, disk_bytes=1000)
    recording = Recording(engine="test", daemon=daemon.address, ring=SpanRing(20), backlog=backlog)
    recording.begin("r", {}, {})
    pushed = 0
    while not backlog.full:
        push(recording, pushed, 5)
        pushed += 5
        time.sleep(0.02)
    push(recording, pushed, 100)
    outcome = recording.end("complete", patience_s=0.5)
    assert outcome.dropped > 0
    assert any(f"{outcome.dropped} spans were lost" in problem for problem in outcome.problems)
    (kept,) = tmp_path.glob("hookrun-*.events")
    told = messages(kept)
    assert sum(body["count"] for kind, body in told if kind == "spans") == outcome.spans == told[-1][1]["spans"]
    assert outcome.spans + outcome.dropped == pushed + 100


def hang_up(dying: socket.socket, times: int) -> None:
    """Be a process that is just dying, or one that wants a key: connections are taken, and end after the first words."""
    with dying:
        dying.settimeout(10)
        for _ in range(times):
            connection, _address = dying.accept()
            connection.recv(1)
            connection.close()


def listening(port: int) -> socket.socket:
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:  # ZeroMQ has not let go of it yet
            time.sleep(0.01)


def test_a_daemon_that_hangs_up_while_it_dies_is_no_closed_door(fake_daemon: Make) -> None:
    daemon = fake_daemon()
    recording = Recording(engine="test", daemon=daemon.address)
    recording.begin("r", {}, {})
    daemon.die()
    hang_up(listening(daemon.port), 2)
    daemon.start()
    push(recording, 0, 50)
    outcome = recording.end("complete")
    assert outcome.problems == ()
    assert tokens([daemon.batches[seq] for seq in sorted(daemon.batches)]) == list(range(50))


def test_a_daemon_that_hangs_up_again_and_again_wants_a_key() -> None:
    dying = listening(0)
    address = f"tcp://127.0.0.1:{dying.getsockname()[1]}"
    door = threading.Thread(target=hang_up, args=(dying, 3))
    door.start()
    with pytest.raises(HookrunError, match="it asks for a key"):
        Recording(engine="test", daemon=address)
    door.join()


def test_no_daemon_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "WELCOME_S", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(HookrunError, match=f"no daemon answers at tcp://127.0.0.1:{port}; start it with `epid serve`"):
        Recording(engine="test", daemon=f"tcp://127.0.0.1:{port}")


def test_something_else_behind_the_port_is_one_sentence(fake_daemon: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "WELCOME_S", 0.5)
    with pytest.raises(HookrunError, match="does not answer as the daemon does"):
        Recording(engine="test", daemon=fake_daemon(silent=True).address)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HookrunError, match="no daemon answers at"):
            Recording(engine="test", daemon=f"tcp://127.0.0.1:{other.getsockname()[1]}")


def test_refusals_are_told_in_the_daemons_words(fake_daemon: Make) -> None:
    with pytest.raises(HookrunError, match="the daemon refuses: no meter is attached"):
        Recording(engine="test", daemon=fake_daemon(refuse="no meter is attached").address)
    for other in (PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1):
        with pytest.raises(HookrunError, match=f"protocol {other}.*bring both to the same release"):
            Recording(engine="test", daemon=fake_daemon(protocol=other).address)


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "tcp://host:port", "udp://127.0.0.1:5"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(HookrunError, match="is no address of a daemon"):
        Recording(engine="test", daemon=address)


def test_a_file_holds_the_same_stream(tmp_path: Path) -> None:
    path = tmp_path / "run.events"
    recording = Recording(engine="test", node="n", out=path)
    run = recording.begin("r", {"a": 1}, {"name": "m"})
    push(recording, 0, 9000)
    assert not path.exists()
    outcome = recording.end("aborted")
    assert (outcome.file_path, outcome.problems, outcome.spans) == (str(path), (), 9000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.events"]
    told = messages(path)
    kinds = [kind for kind, _body in told]
    assert (kinds[:3], set(kinds[3:-1]), kinds[-1]) == (["events", "hello", "run_begin"], {"spans"}, "run_end")
    assert told[0][1].keys() == {"format", "protocol", "node_ns", "utc_ns", "boot"}
    assert (told[2][1]["run"], told[-1][1]["status"]) == (run, "aborted")
    assert tokens([events.span_batch(body) for kind, body in told if kind == "spans"]) == list(range(9000))


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HookrunError, match="cannot write"):
        Recording(engine="test", out=tmp_path / "nowhere" / "run.events")


def test_giving_up_leaves_no_file(tmp_path: Path) -> None:
    Recording(engine="test", out=tmp_path / "run.events").close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "f.part").symlink_to("/dev/full")
    recording = Recording(engine="test", out=tmp_path / "f")
    recording.begin("r", {}, {})
    push(recording, 0, 10)
    outcome = recording.end("complete")
    assert outcome.file_path is None
    assert any("holds only what fitted: No space left" in problem for problem in outcome.problems)


def test_without_daemon_and_file_spans_are_counted_only() -> None:
    recording = Recording(engine="test")
    recording.begin("r", {}, {})
    push(recording, 0, 10)
    outcome = recording.end("complete")
    assert (outcome.spans, outcome.daemon_path, outcome.file_path, outcome.problems) == (10, None, None, ())
