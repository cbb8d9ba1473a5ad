"""`epid serve` as a process: a board on TCP, a node on ZeroMQ, a run file, and everything that can go wrong between."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from epi_protocol import PROTOCOL_VERSION, events
from epid.analysis.summary import summarise
from epid.analysis.timeline.run import load_run
from epid.record.reader import RunFile
from fakes import board, node
from fakes.epid_serve import EPID, PATIENCE_S, Daemon
from fakes.tcp_board import TcpBoard

LOAD_W = 6.0


def assert_joules(consumption, true_j):
    """The load never changes, so no clock can be at fault: at most a step of the registers is missed, whichever edge it hits.

    How often the stated 95 % interval holds is a question of many runs: test_energy.py and the coverage bench ask it.
    """
    assert abs(consumption.energy_j - true_j) <= board.QUANTUM_J + 0.01
    assert 0 < consumption.within_j <= 2 * board.QUANTUM_J


def assert_clocks(run):
    """Node and daemon share one clock here: whatever the delays were, no knot of the map may be further off than it can be."""
    for clock in run.node.clocks.values():
        assert all(abs(knot.host_ns - knot.peer_ns) <= knot.worst_ns for knot in clock.fit().knots)


def measured_rows(idle_s, decode_s, begin_ns):
    """Idle, then one request of ten tokens, in the node's clock."""
    decode_ns = begin_ns + int(idle_s * 1e9)
    end_ns = decode_ns + int(decode_s * 1e9)
    phase = events.KIND["decode"]
    token_ns = int(decode_s * 1e8)
    tokens = [
        {
            "begin_ns": decode_ns + k * token_ns,
            "end_ns": decode_ns + (k + 1) * token_ns,
            "kind": events.KIND["token"],
            "phase": phase,
            "request": 0,
            "token": k,
            "count": 1,
        }
        for k in range(10)
    ]
    halves = [
        token | {"kind": events.KIND[kind], "layer": layer, "end_ns": token["begin_ns"] + microseconds * 1000}
        for token in tokens
        for layer, kind, microseconds in ((0, "attention", 100), (0, "ffn", 200), (1, "attention", 300), (1, "ffn", 400))
    ]
    return [
        {"begin_ns": begin_ns, "end_ns": decode_ns, "kind": events.KIND["idle"]},
        {"begin_ns": decode_ns, "end_ns": end_ns, "kind": phase, "phase": phase, "request": 0, "count": 10},
        *tokens,
        *halves,
    ]


def record_run(daemon, during=lambda: None):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="base", node_ns=node.now_ns(), settings={}, model={"name": "none"})
    path = peer.wait_for("run_open")["path"]
    begin_ns = node.now_ns()
    during()
    peer.answer_pings(4.0)
    peer.send("spans", **node.spans(measured_rows(2.0, 1.5, begin_ns)))
    assert peer.wait_for("ack") == {"run": node.RUN, "seq": 0}
    peer.send("run_end", run=node.RUN, node_ns=node.now_ns(), status="complete", spans=52, dropped=0)
    closed = peer.wait_for("run_closed")
    peer.close()
    assert closed["path"] == path and closed["status"] == "complete" and closed["spans"] == 52
    return Path(path)


def test_a_run_is_recorded_and_its_joules_are_the_loads(daemon):
    path = record_run(daemon)
    summary = summarise(path)
    assert summary.decode.tokens == 10
    assert_joules(summary.decode, LOAD_W * 1.5)
    assert_clocks(summary.run)
    assert summary.idle.watts == pytest.approx(LOAD_W, abs=board.QUANTUM_J / 2.0)
    assert [(layer.attention_us, layer.ffn_us) for layer in summary.layers] == [
        pytest.approx((100, 200), rel=1e-3),
        pytest.approx((300, 400), rel=1e-3),
    ]
    assert summary.lost_frames == 0 and summary.simulated
    assert summary.alignment_bound_us > 0
    assert summary.channels[1].mean_w == pytest.approx(5.0, abs=0.3)


def test_a_replayed_run_gives_the_same_figures_to_the_last_bit(daemon, meter, tmp_path):
    meter.skip = set(range(0, 100_000, 25))
    path = record_run(daemon, during=meter.cut)
    done = subprocess.run([EPID, "replay", str(path), "--to", str(tmp_path / "again"), "--json"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["refused"] == []
    first, again = summarise(path), summarise(Path(told["to"]))
    assert again.run.path.name == path.name and again.run.notes == first.run.notes
    for name in ("decode", "prefill", "idle", "layers", "channels", "chains_ratio"):
        assert repr(getattr(again, name)) == repr(getattr(first, name)), name
    for name in ("host_ns", "bound_ns", "p_w", "energy_j", "lost"):
        assert getattr(again.track, name).tobytes() == getattr(first.track, name).tobytes(), name
    assert all(again.spans.columns[name].tobytes() == column.tobytes() for name, column in first.spans.columns.items())


def test_status_says_what_is_there(daemon):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.answer_until(lambda: peer.pings >= 8)
    seen = daemon.status()
    (board_seen,) = seen["boards"]
    assert board_seen["simulated"] and board_seen["link"] == "up" and board_seen["lost_frames"] == 0
    assert board_seen["channels"][0]["p_w"] == pytest.approx(6.0)
    assert seen["nodes"][0]["channel"] == "0" and seen["nodes"][0]["clock_bound_us"] is not None
    text = subprocess.run([EPID, "status", "--daemon", daemon.endpoint], capture_output=True, text=True).stdout
    assert "meter e660123456789abc (simulated)" in text and "6.000 W" in text and "J (simulated)" in text
    assert "MiB free; between runs: recording" in text
    assert seen["ambient"] == "recording" and seen["boards"][0]["refused_frames"] == 0 and seen["nodes"][0]["refused"] == 0
    peer.close()


def test_lost_frames_are_counted_and_cost_no_energy(daemon, meter):
    meter.skip = set(range(0, 100_000, 10))
    summary = summarise(record_run(daemon))
    assert summary.lost_frames >= 5
    assert_joules(summary.decode, LOAD_W * 1.5)
    assert any("frames of the meter are missing" in text for text in summary.warnings)


def test_a_meter_that_goes_and_comes_back_keeps_its_energy(daemon, meter):
    path = record_run(daemon, during=meter.cut)
    run = load_run(path)
    assert any("is gone" in note for note in run.notes)
    summary = summarise(path)
    assert_joules(summary.decode, LOAD_W * 1.5)


def test_a_batch_that_comes_twice_is_recorded_once(daemon):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    row = {"begin_ns": 1, "end_ns": 2, "kind": 1}
    for seq in (0, 0, 1, 1, 0):
        peer.send("spans", **node.spans([row], seq))
    acks = [peer.wait_for("ack")["seq"] for _ in range(5)]
    assert sorted(acks) == [0, 0, 0, 1, 1]
    peer.send("run_end", run=node.RUN, status="complete")
    peer.wait_for("run_closed")
    peer.close()
    assert sum(message.topic == "/node/pi0/spans" for message in RunFile(path).messages()) == 2


def test_what_a_node_says_wrong_is_refused_in_a_sentence_and_the_daemon_lives(daemon):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    wrong = [
        (lambda: peer.send_raw([b"spans"]), "message of 1 parts"),
        (lambda: peer.send_raw([b"spans", b"\xc1"]), "body is not msgpack"),
        (lambda: peer.send("spans", **node.spans([], run="0000000000")), "which is not open"),
        (lambda: peer.send("run_begin", run="../../etc/x"), "not 8 to 32 hex digits"),
        (lambda: peer.send("welcome"), "not a message that a node sends"),
    ]
    for say, sentence in wrong:
        say()
        with pytest.raises(AssertionError, match=sentence):
            peer.wait_for("ack")
    peer.close()
    future = node.Node(daemon.endpoint, protocol=99)
    with pytest.raises(AssertionError, match=f"speaks protocol 99, this program protocol {PROTOCOL_VERSION}"):
        future.wait_for("welcome")
    future.close()
    assert daemon.status()["refused_messages"] == len(wrong) + 1


def test_a_daemon_that_is_stopped_closes_its_runs_as_aborted(daemon):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="cut short", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    peer.answer_until(lambda: samples_in(path) > 10)
    assert daemon.stop(signal.SIGINT) == 0
    assert peer.wait_for("run_closed")["status"] == "aborted: epid was stopped"
    peer.close()
    run = load_run(path)
    assert run.end["status"].startswith("aborted") and not run.damage
    assert sum(len(b.payloads) for b in run.boards.values()) > 10


def samples_in(path):
    """Samples that stand in a run file, or in what there is of it."""
    return sum(message.topic.endswith("/sample") for message in RunFile(path).messages())


def test_a_daemon_that_is_killed_leaves_a_readable_file(daemon):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="killed", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    taken = daemon.status()["boards"][0]["samples"] + 20
    peer.answer_until(lambda: samples_in(path) >= taken)  # nobody closes the file: what was taken reaches it by itself
    daemon.kill()
    peer.close()
    run = load_run(path)
    assert len(run.damage) == 1 and samples_in(path) >= taken


def test_a_run_goes_on_in_a_second_file_after_the_daemon_was_killed(daemon, tmp_path, meter):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="on and on", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    begin_ns = node.now_ns()
    peer.answer_pings(2.5)
    rows = measured_rows(1.0, 1.0, begin_ns)
    peer.send("spans", **node.spans(rows[:1], seq=0))
    assert peer.wait_for("ack")["seq"] == 0
    daemon.kill()
    meter.overflow(20)
    peer.close()
    again = Daemon(tmp_path / "runs", "--tcp", f"127.0.0.1:{meter.port}", "--channel", "pi0=0")
    again.wait_line("meter e660123456789abc (simulated)")
    peer = node.Node(again.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="on and on", node_ns=0, resume=True)
    assert peer.wait_for("run_open")["path"] == str(path.with_name(f"{path.stem}.part2.mcap"))
    peer.answer_pings(2.0)
    peer.send("spans", **node.spans(rows[1:], seq=1))
    assert peer.wait_for("ack")["seq"] == 1
    peer.send("run_end", run=node.RUN, status="complete")
    peer.wait_for("run_closed")
    peer.close()
    again.stop()
    summary = summarise(path)
    assert summary.run.end["status"] == "complete" and len(summary.run.damage) == 1
    assert summary.lost_frames >= 19, "the time without a daemon is a marked gap"
    assert len(summary.spans.columns["kind"]) == len(rows)
    assert_joules(summary.decode, LOAD_W * 1.0)  # the board counts on while no daemon listens
    assert not any("never came" in note for note in summary.run.notes)


def test_a_taken_port_is_one_sentence(daemon, tmp_path):
    done = subprocess.run([EPID, "serve", "--listen", daemon.endpoint, "--runs", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"epid: {daemon.endpoint} is taken: another epid is running")


def run_serve(tmp_path, *arguments):
    command = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--runs", str(tmp_path / "runs"), "--no-announce", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


def test_a_meter_that_is_not_there(tmp_path):
    assert run_serve(tmp_path, "--port", str(tmp_path / "ttyACM9"))[0] == 3
    code, sentence = run_serve(tmp_path, "--tcp", "127.0.0.1:9")
    assert code == 3 and sentence.startswith("epid: no meter answers at tcp://127.0.0.1:9")
    code, sentence = run_serve(tmp_path, "--tcp", "nonsense")
    assert code == 3 and "write host:port" in sentence
    code, sentence = run_serve(tmp_path, "--channel", "pi0")
    assert code == 2 and "write NODE=CHANNEL" in sentence


def test_a_serial_port_in_use(tmp_path):
    master, slave = pty.openpty()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import serial,time; s=serial.Serial({os.ttyname(slave)!r}, exclusive=True); print(1, flush=True); time.sleep(30)",
        ],
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    code, sentence = run_serve(tmp_path, "--port", os.ttyname(slave))
    holder.kill()
    holder.wait()
    os.close(master)
    os.close(slave)
    assert code == 3 and sentence.endswith("is in use by another program; stop that program first")


@pytest.mark.parametrize(
    ("prelude", "sentence"),
    [(b"", "nothing was heard on"), (b"GET / HTTP/1.1\r\n\0\0hello\0" * 50, "something that is no epi-meter talks on")],
)
def test_something_that_is_no_meter(tmp_path, prelude, sentence):
    silent = TcpBoard(lambda t: 0.0, hello=b"", prelude=prelude)
    code, said = run_serve(tmp_path, "--tcp", f"127.0.0.1:{silent.port}")
    silent.stop()
    assert code == 3 and sentence in said and "is its firmware flashed?" in said


def test_a_meter_of_the_future(tmp_path):
    payload = bytearray(board.hello())
    payload[1] = 99
    newer = TcpBoard(lambda t: 0.0, hello=bytes(payload))
    code, said = run_serve(tmp_path, "--tcp", f"127.0.0.1:{newer.port}")
    newer.stop()
    assert code == 3 and f"the board speaks protocol 99 and this program protocol {PROTOCOL_VERSION}" in said


def test_no_daemon_is_one_sentence():
    done = subprocess.run([EPID, "status", "--daemon", "tcp://127.0.0.1:9", "--timeout", "0.2"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("epid: no daemon answers at tcp://127.0.0.1:9; start one with `epid serve`")


def test_a_disk_that_fills_up_ends_the_run_and_not_the_daemon(tmp_path, meter):
    limit = "import os,resource,sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", limit, EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--no-announce"]
    command += ["--runs", str(tmp_path / "runs"), "--tcp", f"127.0.0.1:{meter.port}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    endpoint = re.search(r"tcp://\S+:\d+", process.stderr.readline())[0]
    peer = node.Node(endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    with pytest.raises(AssertionError, match="refused: cannot write to the run file"):
        peer.wait_for(
            "run_closed",
        )
    peer.send("status")
    assert peer.wait_for("status")["runs"] == []
    peer.close()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert sum(len(b.payloads) for b in load_run(path).boards.values()) > 0
