"""A small disk that really fills up: a tmpfs of its own in a mount namespace of its own, seen from outside through /proc."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from epid.analysis.timeline.run import load_run
from fakes import node
from fakes.epid_serve import EPID, Voice

MIB = 1 << 20
SIZE_MIB = 24
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def why_no_mount(folder):
    """Why this machine lets a test mount nothing; empty where it does."""
    if shutil.which("unshare") is None:
        return "there is no unshare(1)"
    done = subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    return done.stderr.strip() if done.returncode else ""


class SmallDisk:
    """`epid serve` on a disk of SIZE_MIB; `folder` is where its run files are, seen from here."""

    def __init__(self, mount_point, *arguments):
        mount = f"mount -t tmpfs -o size={SIZE_MIB}m tmpfs {shlex.quote(str(mount_point))}"
        serve = [EPID, "serve", "--listen", "tcp://127.0.0.1:*", "--runs", str(mount_point), "--no-announce", "--reserve", "1"]
        script = f"{mount} && {shlex.join([*serve, *arguments])}; echo ended $? >&2; read -r _held_open"
        self.process = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._voice = Voice(self.process.stderr)
        self.wait_line = self._voice.wait_line
        self.endpoint = re.search(r"tcp://\S+:\d+", self.wait_line("listening for nodes"))[0]
        self.folder = Path(f"/proc/{self.process.pid}/root") / mount_point.relative_to("/")

    def leave_free(self, n_bytes):
        """Another program takes all but `n_bytes`."""
        ballast = self.folder / "ballast"
        usage = shutil.disk_usage(self.folder)
        taken = ballast.stat().st_size if ballast.exists() else 0
        wanted = taken + usage.free - n_bytes
        with ballast.open("ab") as stream:
            if wanted < taken:
                stream.truncate(wanted)
            else:
                stream.write(bytes(wanted - taken))

    def fill(self):
        """Another program writes until there is nothing left."""
        with (self.folder / "ballast").open("ab", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                return

    def end_daemon(self):
        """Stop the daemon and return its exit code; the disk stays."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        subprocess.run(["kill", "-TERM", *children], check=True)
        return int(self.wait_line("ended ").split()[1])

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._voice.join()


@pytest.fixture
def disk(tmp_path, meter):
    point = tmp_path / "small"
    point.mkdir()
    reason = why_no_mount(point)
    if reason:
        pytest.skip(f"nothing can be mounted here: {reason}")
    opened = SmallDisk(point, "--tcp", f"127.0.0.1:{meter.port}", "--metrics", "127.0.0.1:0")
    yield opened
    opened.close()


def open_run(disk, label):
    peer = node.Node(disk.endpoint)
    peer.wait_for("welcome")
    peer.send("run_begin", run=node.RUN, label=label, node_ns=0)
    peer.wait_for("run_open")
    peer.send("spans", **node.spans([{"begin_ns": 1, "end_ns": 2, "kind": 1}]))
    assert peer.wait_for("ack")["seq"] == 0
    return peer


def test_a_real_disk_that_fills_up_is_warned_of_and_runs_end_whole(disk):
    disk.wait_line("(simulated)")
    peer = open_run(disk, "filling")
    disk.leave_free(10 * MIB)
    disk.wait_line("make room, or the recording will stop at 1 MiB")
    disk.leave_free(3 * MIB)
    disk.wait_line("the ambient recording stops, runs go on")
    disk.leave_free(MIB // 2)
    closed = peer.wait_for("run_closed")
    assert closed["status"] == "aborted: the disk is nearly full"
    peer.send("run_begin", run="ab" * 8, label="too late", node_ns=0)
    with pytest.raises(AssertionError, match="refused: only 0 MiB are free in"):
        peer.wait_for("run_open")
    (path,) = disk.folder.glob("*.mcap")
    run = load_run(path)
    assert run.end["status"] == closed["status"] and not run.damage, "the reserve was kept for the index"
    disk.leave_free(20 * MIB)
    disk.wait_line("MiB are free for run files")
    peer.send("run_begin", run="ab" * 8, label="again", node_ns=0)
    assert peer.wait_for("run_open")["run"] == "ab" * 8
    peer.close()
    assert disk.end_daemon() == 0


def test_a_real_disk_that_is_full_at_once_costs_the_run_its_end_and_not_the_daemon(disk):
    disk.wait_line("(simulated)")
    peer = open_run(disk, "full at once")
    disk.fill()
    with pytest.raises(AssertionError, match=r"refused: cannot (write to|finish) the run file .*: No space left on device"):
        peer.wait_for("run_closed")
    (path,) = disk.folder.glob("*.mcap")
    run = load_run(path)
    assert len(run.damage) == 1 and len(run.node.spans) == 1, "what had been acknowledged stands in the file"
    peer.send("status")
    assert peer.wait_for("status")["runs"] == []
    peer.close()
    assert disk.end_daemon() == 0, "the daemon outlives the disk, and its energy totals too"
