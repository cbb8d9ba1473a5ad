"""`hookrun deliver`: what was kept in a file reaches the daemon once, in order, or stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from epi_protocol.events import KIND
from hookrun.cli import main
from hookrun.errors import HookrunError
from hookrun.sending.delivery import Delivery
from hookrun.sending.kept import read_kept_run
from hookrun.sending.recording import Recording

Make = Callable[..., Any]
BATCHES, SPANS = 40, 3


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run in a file: some batches of spans, with a look at the node between any two."""
    path = tmp_path / "run.events"
    recording = Recording(engine="test", node="pi0", out=path)
    recording.begin("label", {"threads": 1}, {"name": "m"})
    for batch in range(BATCHES):
        for span in range(SPANS):
            recording.ring.push("token", 10 * batch + span, 10 * batch + span + 1, token=SPANS * batch + span, count=1)
        recording.telemetry({"load": float(batch)})
        while recording.courier.spans < SPANS * (batch + 1):
            time.sleep(0.002)
    assert recording.end("complete").problems == ()
    return path


def stored(daemon: Any) -> list[int]:
    rows = [row for seq in sorted(daemon.batches) for row in daemon.batches[seq].rows()]
    assert {row["kind"] for row in rows} <= {KIND["token"]}
    return [row["token"] for row in rows]


def looks(daemon: Any) -> list[float]:
    return [body["readings"]["load"] for body in daemon.bodies("telemetry")]


def test_a_file_is_delivered_whole_in_order_and_once(kept: Path, fake_daemon: Make, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = fake_daemon()
    assert main(["deliver", str(kept), "--daemon", daemon.address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["spans"], told["file"]) == (BATCHES * SPANS, str(kept))
    assert stored(daemon) == list(range(BATCHES * SPANS))
    assert looks(daemon) == [float(batch) for batch in range(BATCHES)]
    assert daemon.repeated == 0
    (hello,), (begin,), (end,) = daemon.bodies("hello"), daemon.bodies("run_begin"), daemon.bodies("run_end")
    assert (hello["node"], begin["label"], begin["resume"], end["status"]) == ("pi0", "label", False, "complete")
    assert not kept.exists()
    assert kept.with_name("run.events.delivered").exists()
    assert main(["deliver", str(kept), "--daemon", daemon.address]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_a_daemon_that_leaves_in_the_middle_gets_the_rest_the_next_time(kept: Path, fake_daemon: Make) -> None:
    first, second = fake_daemon(), fake_daemon()
    take = first._take

    def only_some(batch: Any) -> Any:
        if batch.seq < 7:
            yield from take(batch)

    first._take = only_some
    with pytest.raises(HookrunError, match=r"what was not delivered is still in .*run.events"):
        Delivery(read_kept_run(kept), first.address).carry(patience_s=1.0)
    assert sorted(first.batches) == list(range(7))
    Delivery(read_kept_run(kept), second.address).carry()
    assert sorted(second.batches) == list(range(7, BATCHES))
    assert second.bodies("run_begin")[0]["resume"] is True
    assert looks(second) == [float(number) for number in range(BATCHES - len(looks(second)), BATCHES)]
    assert set(looks(first)) | set(looks(second)) == set(range(BATCHES))


def test_a_run_that_lost_its_daemon_is_completed_from_what_it_kept(
    tmp_path: Path, fake_daemon: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = fake_daemon()
    recording = Recording(engine="test", node="pi0", daemon=daemon.address)
    run = recording.begin("label", {}, {})
    recording.ring.push("token", 1, 2, token=0)
    while not daemon.batches:
        time.sleep(0.002)
    daemon.die()
    recording.ring.push("token", 3, 4, token=1)
    (problem,) = recording.end("complete", patience_s=0.5).problems
    assert f"hookrun-{run}.events, for `hookrun deliver`" in problem
    daemon.start()
    assert main(["deliver", f"hookrun-{run}.events", "--daemon", daemon.address]) == 0
    assert stored(daemon) == [0, 1]
    assert daemon.bodies("run_begin")[-1]["resume"] is True


def rewritten(
    path: Path, change: Callable[[str, dict[str, Any]], None], keep: Callable[[str], bool] = lambda _kind: True
) -> None:
    messages = list(msgpack.Unpacker(path.open("rb")))
    for kind, body in messages:
        change(kind, body)
    path.write_bytes(b"".join(msgpack.packb([kind, body]) for kind, body in messages if keep(kind)))


BAD = {
    "no event file": (lambda path: path.write_bytes(b"GGUF"), "is no event file of hookrun"),
    "nothing": (lambda path: path.unlink(), "cannot read"),
    "cut off": (lambda path: rewritten(path, lambda _k, _b: None, lambda kind: kind != "run_end"), "its run has no end"),
    "another boot": (
        lambda path: rewritten(path, lambda kind, body: body.update(boot="x") if kind == "events" else None),
        "restarted",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_delivered_gets_one_sentence(kept: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, sentence = BAD[name]
    spoil(kept)
    assert main(["deliver", str(kept), "--daemon", "tcp://127.0.0.1:1"]) == 1
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "sentence"), [({"refuse": "go away"}, "go away"), ({"protocol": 1}, "protocol")])
def test_a_daemon_that_refuses_leaves_the_file(kept: Path, fake_daemon: Make, arguments: dict[str, Any], sentence: str) -> None:
    before = kept.read_bytes()
    with pytest.raises(HookrunError, match=sentence):
        Delivery(read_kept_run(kept), fake_daemon(**arguments).address).carry(patience_s=1.0)
    assert kept.read_bytes() == before
