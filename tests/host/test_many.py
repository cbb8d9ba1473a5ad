"""Several boards, nodes and runs at once, and peers that behave oddly."""

import re
from pathlib import Path

import pytest

from epi_protocol import messages
from epid.analysis.timeline.run import load_run
from epid.analysis.timeline.timeline import span_table
from epid.record.reader import RunFile
from fakes import board, node
from fakes.epid_serve import Daemon
from fakes.tcp_board import TcpBoard


@pytest.fixture
def two_meters():
    first = TcpBoard(lambda t: 6.0)
    second = TcpBoard(lambda t: 3.0, hello=board.hello(b"\5\6\7\x08", board_id="e66000000000beef"))
    yield first, second
    first.stop()
    second.stop()


def test_two_boards_and_two_runs_at_once(tmp_path, two_meters):
    ports = [argument for meter in two_meters for argument in ("--tcp", f"127.0.0.1:{meter.port}")]
    daemon = Daemon(tmp_path / "runs", *ports, "--channel", "pi0=e660123456789abc:0", "--channel", "pi1=e66000000000beef:1")
    try:
        for _ in two_meters:
            daemon.wait_line("(simulated)")
        peers = [node.Node(daemon.endpoint, name) for name in ("pi0", "pi1")]
        runs = ["0123456789abcdef", "fedcba9876543210"]
        paths = []
        for peer, run in zip(peers, runs, strict=True):
            peer.wait_for("welcome")
            peer.send("run_begin", run=run, label=run[:2], node_ns=0)
            paths.append(peer.wait_for("run_open")["path"])
        for peer, run in zip(peers, runs, strict=True):
            peer.answer_pings(0.7)
            peer.send("spans", **node.spans([{"begin_ns": 1, "end_ns": 2, "kind": 1}], run=run))
            peer.send("spans", **node.spans([], run=runs[0] if run == runs[1] else runs[1]))
            with pytest.raises(AssertionError, match="which is not open"):
                peer.wait_for("run_open")
            peer.send("run_end", run=run, status="complete")
            assert peer.wait_for("run_closed")["spans"] == 1
            peer.close()
    finally:
        daemon.stop()
    for path, name in zip(paths, ("pi0", "pi1"), strict=True):
        found = load_run(tmp_path / "runs" / path.rpartition("/")[2])
        assert list(found.nodes) == [name] and len(span_table(found.node).columns["kind"]) == 1
        assert set(found.boards) == {"e660123456789abc", "e66000000000beef"}


def assert_says_jump(sentence, true_s):
    """The jump that a sentence states holds the true one within what the sentence says, and the last digit shown."""
    shown_s, within_ms = re.search(r"jumped by ([+-][\d.]+) s \(± ([\d.]+) ms\)", sentence).groups()
    assert abs(float(shown_s) - true_s) <= float(within_ms) / 1e3 + 0.6e-3


@pytest.mark.parametrize(("ahead_s", "ends"), [(86_400, False), (-86_400, True)])
def test_a_node_whose_clock_jumps_by_a_day_is_one_sentence_and_nothing_is_lost(daemon, ahead_s, ends):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="jump", node_ns=0)
    path = peer.wait_for("run_open")["path"]
    peer.send("spans", **node.spans([{"begin_ns": 1, "end_ns": 2, "kind": 1}]))
    peer.answer_until(lambda: peer.pings >= 8)
    peer.ahead_ns = ahead_s * 1_000_000_000
    if ends:
        status = peer.wait_for("run_closed")["status"]
        assert status.startswith("aborted: the clock of node pi0 jumped by -86")
    said = peer.answer_until(lambda: daemon.said("the clock of node pi0 jumped by"))
    assert_says_jump(said, ahead_s)
    if not ends:
        peer.send("run_end", run=node.RUN, status="complete")
        assert peer.wait_for("run_closed")["status"] == "complete"
    peer.close()
    run = load_run(Path(path))
    assert len(span_table(run.node).columns["kind"]) == 1 and not run.damage
    assert sum("jumped" in note for note in run.notes) == 1
    (clock,) = run.node.clocks.values()
    gaps = clock.fit().gaps
    assert [round(gap.jump_ns / 1e9) for gap in gaps] == ([] if ends else [ahead_s])


def test_a_board_that_restarts_again_and_again_is_one_sentence_and_every_start_is_recorded(daemon, meter):
    peer = node.Node(daemon.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label="restarts", node_ns=0)
    path = Path(peer.wait_for("run_open")["path"])
    boots, told = [meter.boot_id], []
    while not told:  # four starts in half a minute; a slow machine needs some more
        meter.reset()
        boots.append(meter.boot_id)
        peer.answer_until(lambda: boots[-1] in boots_in(path))
        told = [message for message in RunFile(path).messages() if "has started 4 times" in message.body.get("text", "")]
    peer.send("run_end", run=node.RUN, status="complete")
    assert peer.wait_for("run_closed")["status"] == "complete"
    peer.close()
    daemon.stop()
    assert boots_in(path) == boots, "every start in its order"
    greetings = [line for line in daemon.lines if "Hz" in line and "(simulated)" in line]
    assert len(greetings) == len(boots) - 1 and daemon.said("has started 4 times in") is not None
    assert sum("check its supply and its cable" in note for note in load_run(path).notes) == 1


def boots_in(path):
    """Boot ids of the hellos in a run file, in order."""
    hellos = [message.body["payload"] for message in RunFile(path).messages() if message.topic.endswith("e660123456789abc/hello")]
    return [messages.parse_hello(payload)[0] for payload in hellos]
