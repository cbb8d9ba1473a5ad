"""`make bench-load`: a real daemon under load: what it costs at the real rate, and what it sustains.

Two figures: the daemon's share of one core while four nodes send 2,000 spans/s each, and the spans/s that one node with full
batches gets written and acknowledged. In both a fifth node with an open run is stopped (SIGSTOP) for the whole time: it takes
nothing and says nothing, and the record must not notice. Zero spans and zero frames of the meter may be lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from epi_protocol import events
from epid.record.reader import RunFile
from fakes.epid_serve import Daemon
from fakes.node import Node, now_ns
from fakes.tcp_board import TcpBoard

NODES, RATE_HZ, PER_BATCH = 4, 2000, 200
FULL_BATCH, IN_FLIGHT = 50_000, 8


def columns(count: int) -> dict[str, bytes]:
    """Columns of a batch as a hook would fill them."""
    begin_ns = now_ns()
    filled = {"begin_ns": range(begin_ns, begin_ns + count), "end_ns": range(begin_ns + 1, begin_ns + count + 1)}
    return {name: array(code, filled.get(name, [1] * count)).tobytes() for name, code, _meaning in events.COLUMNS}


class Sender:
    """One node with one open run."""

    def __init__(self, endpoint: str, number: int) -> None:
        self.run = f"{number:016x}"
        self.node = Node(endpoint, name=f"pi{number}")
        self.node.wait_for("welcome", 30)
        self.node.send("run_begin", run=self.run, label=f"load {number}", node_ns=now_ns())
        self.path = Path(self.node.wait_for("run_open", 30)["path"])
        self.sent = self.acked = 0

    def send(self, filled: dict[str, bytes], count: int) -> None:
        """Send a batch."""
        self.node.send("spans", run=self.run, seq=self.sent, count=count, dropped=0, columns=filled)
        self.sent += 1

    def wait_acked(self, behind: int) -> None:
        """Wait until no more than `behind` batches are unacknowledged."""
        while self.sent - self.acked > behind:
            self.node.wait_for("ack", 60)
            self.acked += 1

    def end(self) -> int:
        """End the run; return the spans that the daemon says it has."""
        self.node.send("run_end", run=self.run, status="complete")
        spans = int(self.node.wait_for("run_closed", 60)["spans"])
        self.node.close()
        return spans


@dataclass(frozen=True)
class Result:
    """What one phase sent, what stands in the files, and the daemon's CPU time over the wall's."""

    spans: int
    recorded: int
    seconds: float
    cpu_share: float

    def to_map(self) -> dict[str, float]:
        """For JSON and the table."""
        rate = self.spans / self.seconds
        return {"spans": self.spans, "lost": self.spans - self.recorded, "spans_per_s": rate, "cpu_share": self.cpu_share}


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def real_rate(daemon: Daemon, seconds: float) -> Result:
    """Four nodes at the rate of real inference."""
    senders = [Sender(daemon.endpoint, k) for k in range(1, NODES + 1)]
    filled = columns(PER_BATCH)
    begun_s, before_s = time.monotonic(), cpu_s(daemon.process.pid)
    for tick in range(int(seconds * RATE_HZ / PER_BATCH)):
        for sender in senders:
            sender.send(filled, PER_BATCH)
        time.sleep(max(0.0, begun_s + (tick + 1) * PER_BATCH / RATE_HZ - time.monotonic()))
    took_s, used_s = time.monotonic() - begun_s, cpu_s(daemon.process.pid) - before_s
    for sender in senders:
        sender.wait_acked(0)
    return _result(senders, PER_BATCH, took_s, used_s)


def full_speed(daemon: Daemon, seconds: float) -> Result:
    """One node that sends full batches as fast as they are acknowledged."""
    sender, filled = Sender(daemon.endpoint, 100), columns(FULL_BATCH)
    begun_s, before_s = time.monotonic(), cpu_s(daemon.process.pid)
    while time.monotonic() - begun_s < seconds:
        sender.send(filled, FULL_BATCH)
        sender.wait_acked(IN_FLIGHT)
    sender.wait_acked(0)
    took_s, used_s = time.monotonic() - begun_s, cpu_s(daemon.process.pid) - before_s
    return _result([sender], FULL_BATCH, took_s, used_s)


def spans_in(path: Path) -> int:
    """Spans that stand in a run file."""
    file = RunFile(path)
    return sum(message.body["body"]["count"] for message in file.messages() if message.topic.endswith("/spans"))


def _result(senders: list[Sender], per_batch: int, took_s: float, used_s: float) -> Result:
    sent = sum(sender.sent for sender in senders) * per_batch
    told = sum(sender.end() for sender in senders)
    recorded = sum(spans_in(sender.path) for sender in senders)
    assert told == recorded, f"the daemon said {told}, the files hold {recorded}"
    return Result(sent, recorded, took_s, used_s / took_s)


_STOPPED = """
import sys, time
from fakes.node import Node
node = Node(sys.argv[1], name="stopped")
node.wait_for("welcome", 30)
node.send("run_begin", run="ffffffffffffffff", label="stopped", node_ns=0)
node.wait_for("run_open", 30)
print("ready", flush=True)
time.sleep(3600)
"""


def stopped_node(endpoint: str) -> subprocess.Popen[bytes]:
    """A node with an open run that says nothing and takes nothing."""
    here = str(Path(__file__).parent.parent)
    process = subprocess.Popen([sys.executable, "-c", _STOPPED, endpoint], stdout=subprocess.PIPE, cwd=here)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/load.py --seconds 60")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each of the two phases (60)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    meter = TcpBoard(lambda t: 6.0)
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), "--tcp", f"127.0.0.1:{meter.port}")
        stopped = stopped_node(daemon.endpoint)
        try:
            rows = {"real rate": real_rate(daemon, asked.seconds), "full speed": full_speed(daemon, asked.seconds)}
            lost_frames = daemon.status()["boards"][0]["lost_frames"]
        finally:
            stopped.kill()
            daemon.stop()
            meter.stop()
    found = {name: result.to_map() for name, result in rows.items()} | {"lost_frames_of_the_meter": lost_frames}
    if asked.json:
        print(json.dumps(found))
        return
    for name, result in rows.items():
        row = result.to_map()
        print(f"{name:<12} {row['spans_per_s']:12,.0f} spans/s  {row['lost']} lost  {row['cpu_share']:7.1%} of one core")
    print(f"frames of the meter lost meanwhile: {lost_frames}")


if __name__ == "__main__":
    main()
