"""`make bench-recovery`: how long after each fault the record goes on, against a real daemon.

The time counts from the moment at which going on is possible (the meter answers again, the daemon was started again) to the first
sample that the daemon has taken, or the first batch that it has acknowledged.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from epid.daemon.client import ask_status
from fakes import node
from fakes.epid_serve import Daemon
from fakes.tcp_board import TcpBoard

ALLOWED_S = 2.0
_RUN = "00000000000000aa"


def samples(daemon: Daemon) -> int:
    """Samples that the daemon has taken from its meter."""
    boards = ask_status(daemon.endpoint, 5000)["boards"]
    return int(boards[0]["samples"]) if boards else 0


def until_more(daemon: Daemon, before: int) -> float:
    """Seconds until the daemon has taken another sample."""
    begun_s = time.monotonic()
    while samples(daemon) <= before:
        assert time.monotonic() - begun_s < 30, "the daemon never went on"
        time.sleep(0.01)
    return time.monotonic() - begun_s


def line_cut(daemon: Daemon, meter: TcpBoard) -> float:
    """The line to the meter breaks, and the meter listens on at once."""
    before = samples(daemon)
    meter.cut()
    time.sleep(0.1)
    return until_more(daemon, max(before, samples(daemon)))


def board_reset(daemon: Daemon, meter: TcpBoard) -> float:
    """The meter restarts under a new boot id."""
    before = samples(daemon)
    meter.reset()
    time.sleep(0.1)
    return until_more(daemon, max(before, samples(daemon)))


def node_returns(daemon: Daemon, _meter: TcpBoard) -> float:
    """A node's process dies in a run, comes again, and goes on with it."""
    for attempt in (False, True):
        begun_s = time.monotonic()
        peer = node.Node(daemon.endpoint)
        peer.wait_for("welcome")
        peer.send("run_begin", run=_RUN, label="", node_ns=0, resume=attempt)
        peer.wait_for("run_open")
        peer.send("spans", **node.spans([{"begin_ns": 1, "end_ns": 2, "kind": 1}], seq=int(attempt), run=_RUN))
        peer.wait_for("ack")
        took_s = time.monotonic() - begun_s
        if attempt:
            peer.send("run_end", run=_RUN, status="complete")
            peer.wait_for("run_closed")
        peer.close()
    return took_s


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the times of every fault, seconds."""
    meter = TcpBoard(lambda t: 6.0)
    arguments = (folder, "--tcp", f"127.0.0.1:{meter.port}", "--channel", "pi0=0")
    faults: dict[str, Callable[[Daemon, TcpBoard], float]] = {
        "line to the meter cut": line_cut,
        "meter reset": board_reset,
        "node's process killed": node_returns,
    }
    found: dict[str, list[float]] = {name: [] for name in [*faults, "daemon killed"]}
    daemon = Daemon(*arguments)
    daemon.wait_line("(simulated)")
    try:
        for _ in range(rounds):
            for name, fault in faults.items():
                found[name].append(fault(daemon, meter))
            daemon.kill()
            begun_s = time.monotonic()
            daemon = Daemon(*arguments)
            until_more(daemon, 0)
            found["daemon killed"].append(time.monotonic() - begun_s)
    finally:
        daemon.stop()
        meter.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/recovery.py --rounds 5")
    parser.add_argument("--rounds", type=int, default=5, help="times that each fault is made (5)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.rounds)
    if asked.json:
        print(json.dumps(found))
        return
    for name, times_s in found.items():
        print(f"{name:<24} median {statistics.median(times_s):5.2f} s, longest {max(times_s):5.2f} s")


if __name__ == "__main__":
    main()
