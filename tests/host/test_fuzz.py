"""What comes over a wire can be anything: nothing may crash the daemon, and nothing may make it grow."""

import asyncio

import pytest
from fuzz import run

from epi_protocol import events
from epid.daemon.board import BoardSession
from epid.daemon.disk import Disk
from epid.daemon.gate import MAX_REASON, MAX_SESSIONS
from epid.daemon.hub import Hub
from epid.daemon.recorder import Recorder
from epid.daemon.windows import Windows
from fakes import node


def test_some_thousand_mutated_frames_and_messages():
    found = run(6000, seed=5, chunk=2000)
    assert found["crashes"] == 0, found["first_crash"]
    assert found["refused_frames"] > 500 and found["refused_messages"] > 1000 and found["run_files_analysed"] > 0
    assert found["grown_mib"] < 30


def test_a_bench_that_was_broken_off_goes_on_where_it_was(tmp_path):
    out = tmp_path / "fuzz.jsonl"
    part, whole = run(400, seed=1, chunk=200, out=out), run(800, seed=1, chunk=200, out=out)
    assert (part["cases"], whole["cases"]) == (400, 800) and len(out.read_text().splitlines()) == 4
    assert run(800, seed=1, chunk=200, out=out) == whole


def test_a_bench_that_finds_no_crash_could_have_found_one(monkeypatch):
    monkeypatch.setattr("epid.daemon.hub.check_run_begin", lambda body: 1 / 0)
    found = run(2000, seed=5)
    assert found["crashes"] > 0 and "ZeroDivisionError" in found["first_crash"]


class Door:
    """A hub whose answers are kept instead of sent."""

    def __init__(self, folder):
        self.recorder = Recorder(folder, {}, Disk(folder))
        self.hub = Hub(self.recorder, "tcp://127.0.0.1:*", dict, lambda text: None, Windows(lambda: [BoardSession()], {}))
        self.answers = []
        self.hub._send = self._keep

    async def _keep(self, identity, kind, body):
        self.answers.append((kind, body))

    def say(self, kind, body, peer=b"peer"):
        asyncio.run(self.hub.take(peer, events.pack(kind, body), 1))
        return self.answers[-1]


@pytest.fixture
def door(tmp_path):
    opened = Door(tmp_path)
    yield opened
    opened.hub.close()


def hello(name="pi0"):
    return events.unpack(events.hello(name, "5e55", "host", 1, "x"))[1]


def test_a_node_that_says_too_much_of_anything_is_refused(door):
    assert door.say("hello", hello())[0] == "welcome"
    kind, body = door.say(
        "spans", {"run": "x" * 100_000, "seq": 0, "count": 0, "dropped": 0, "columns": node.spans([])["columns"]}
    )
    assert kind == "refused" and len(body["reason"]) <= MAX_REASON + 1
    for name in ("", "x" * 65, "a\nb", 7):
        assert door.say("hello", hello() | {"node": name})[0] == "refused"


def test_what_can_be_read_but_not_be_written_is_refused_and_leaves_no_file(door, tmp_path):
    door.say("hello", hello())
    deep = b"\x91" * 1021 + b"\x90"
    packed = events.pack("run_begin", {"run": node.RUN, "model": 0})
    packed[1] = packed[1].replace(b"\xa5model\x00", b"\xa5model" + deep)
    asyncio.run(door.hub.take(b"peer", packed, 1))
    kind, body = door.answers[-1]
    assert kind == "refused" and "cannot be stored" in body["reason"]
    assert list(tmp_path.glob("*.mcap")) == []


@pytest.mark.parametrize("wrong", [{"model": 7}, {"model": None}, {"settings": ["x"]}])
def test_a_run_begin_that_no_reader_could_use_is_refused_and_leaves_no_file(door, tmp_path, wrong):
    door.say("hello", hello())
    kind, body = door.say("run_begin", {"run": node.RUN} | wrong)
    assert kind == "refused" and f"run_begin whose {next(iter(wrong))!r} is" in body["reason"]
    assert list(tmp_path.glob("*.mcap")) == []


def test_sessions_and_runs_do_not_pile_up_without_end(door):
    for k in range(MAX_SESSIONS):
        assert door.say("hello", hello(), peer=b"%d" % k)[0] == "welcome"
    assert "takes no more" in door.say("hello", hello(), peer=b"one more")[1]["reason"]
    assert door.say("hello", hello(), peer=b"0")[0] == "welcome", "who is in may say hello again"
    for k in range(64):
        assert door.say("run_begin", {"run": f"{k:016x}"}, peer=b"0")[0] == "run_open"
    assert "64 runs are open already" in door.say("run_begin", {"run": "f" * 16}, peer=b"0")[1]["reason"]
    for opened in list(door.recorder.runs.values()):
        door.recorder.close(opened, "complete")
