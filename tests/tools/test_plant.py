"""Sources of watts, the grammar of channel arguments, CPU time of process trees, and the ledger."""

import itertools
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epi_tools.plant import ChannelSpecError, Constant, Ledger, Recorded, Sine, Steps, parse_channels
from epi_tools.plant.channels import build_source
from epi_tools.plant.cpu_load import CpuLoad, NodePower
from epi_tools.plant.process_tree import ProcessTree

S = 1_000_000_000
SOURCES = [
    Constant(5.0),
    Steps([(3.5, 0.2), (11.0, 0.3)], start_ns=7),
    Sine(7, 2, 0.5, start_ns=11),
    Recorded([0, S // 3, S], [1.0, 9.0, 2.0]),
]


def energy_j(source, start_ns, end_ns):
    total = 0.0
    for piece_ns, watts in source.pieces(start_ns, end_ns):
        total += watts * (piece_ns - start_ns) * 1e-9
        start_ns = piece_ns
    assert start_ns == end_ns
    return total


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
@given(cuts=st.lists(st.integers(-S, 3 * S), min_size=3, max_size=10, unique=True))
def test_pieces_are_contiguous_and_additive(source, cuts):
    cuts = sorted(cuts)
    for start_ns, end_ns in itertools.pairwise(cuts):
        ends = [start_ns, *(piece_ns for piece_ns, _ in source.pieces(start_ns, end_ns))]
        assert ends == sorted(set(ends)) and ends[-1] == end_ns
    whole = energy_j(source, cuts[0], cuts[-1])
    parts = sum(energy_j(source, a, b) for a, b in itertools.pairwise(cuts))
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-9)


def test_closed_forms():
    assert energy_j(Steps([(3.5, 5), (11, 5)], 0), 0, 25 * S) == pytest.approx(2 * 72.5 + 17.5)
    assert energy_j(Sine(7, 2, 10, 0), 0, 5 * S) == pytest.approx(35 + 2 * 10 / math.pi)
    assert energy_j(Recorded([S, 2 * S], [4, 6]), 0, 4 * S) == pytest.approx(4 + 12)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["const:5"], "is not N=SPEC"),
        (["4=const:5"], "N from 0 to 3"),
        (["0="], "is not N=SPEC"),
        (["0=const:5", "0=const:6"], "has two sources, 'const:5' and 'const:6'"),
    ],
)
def test_channel_arguments_that_make_no_sense(arguments, complaint):
    with pytest.raises(ChannelSpecError, match=complaint):
        parse_channels(arguments)


@pytest.mark.parametrize(
    "spec",
    [
        "lamp:5", "const", "const:", "const:five", "const:-1", "const:nan", "const:1,2", "steps:", "steps:5", "steps:5x0",
        "steps:5x1,6", "steps:5x1x2", "sine:1,2", "sine:1,2,3", "sine:3,1,0", "cpu:", "cpu:@", "cpu:abc", "cpu:999999999",
        "csv:", "csv:missing.csv",
    ],
)  # fmt: skip
def test_sources_that_make_no_sense(spec):
    with pytest.raises(ChannelSpecError) as error:
        build_source(spec, NodePower(), time.monotonic_ns, 0)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no rows"),
        ("t,w\n", "holds no rows"),
        ("0,1\n1,x\n", "Row 2"),
        ("0,1\n0,2\n", "Row 2 .* later"),
        ("0,-1\n", "negative"),
        ("0,inf\n", "not finite"),
    ],
)
def test_recordings_that_make_no_sense(tmp_path, text, complaint):
    path = tmp_path / "watts.csv"
    path.write_text(text)
    with pytest.raises(ChannelSpecError, match=complaint):
        build_source(f"csv:{path}", NodePower(), time.monotonic_ns, 0)


def test_a_recording_plays_from_the_start(tmp_path):
    path = tmp_path / "watts.csv"
    path.write_text("seconds,watts\n0,2\n1.5,4\n")
    assert energy_j(build_source(f"csv:{path}", NodePower(), time.monotonic_ns, 5 * S), 4 * S, 8 * S) == pytest.approx(3 + 6)


BURN = "import time\nend = time.process_time() + {0}\nwhile time.process_time() < end: pass\n"
TREE = """
import subprocess, sys, threading, time
def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end: pass
thread = threading.Thread(target=burn); thread.start(); thread.join()
child = subprocess.Popen([sys.executable, "-c", {0!r}])
sys.stdin.read(1)
child.wait()
"""


def test_a_tree_counts_ended_threads_and_children():
    """The clock of a process keeps the time of its ended threads; a child counts from its birth."""
    start = "import sys; print('up', flush=True); sys.stdin.read(1)\n"
    code = start + TREE.format(BURN.format(0.2))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "up\n"
        tree = ProcessTree(process.pid)
        assert tree.cpu_ns_since() == 0
        process.stdin.write("x")
        process.stdin.flush()
        used_ns, deadline = 0, time.monotonic() + 20
        while used_ns < 0.3 * S and time.monotonic() < deadline:
            step_ns = tree.cpu_ns_since()
            assert step_ns >= 0
            used_ns += step_ns
            time.sleep(0.01)
        assert used_ns >= 0.3 * S
        process.stdin.write("x")
    for _ in range(3):
        tree.cpu_ns_since()
    assert tree.cpu_ns_since() == 0 and not tree.alive


def test_a_tree_leaves_this_process_out():
    tree = ProcessTree(os.getpid())
    tree.cpu_ns_since()
    sum(range(200_000))
    assert tree.cpu_ns_since() == 0


def test_a_cpu_channel_is_idle_without_a_process_and_follows_the_pid_file(tmp_path):
    now = [0]
    pid_file = tmp_path / "run.pid"
    load = CpuLoad(pid_file, NodePower(3.5, 11.0, 1.0), lambda: now[0])
    now[0] = S
    assert energy_j(load, 0, S) == pytest.approx(3.5)
    with subprocess.Popen([sys.executable, "-c", BURN.format(0.1)]) as process:
        pid_file.write_text(f"{process.pid}\n")
        load.observe()
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            now[0] += 20_000_000
            load.observe()
            time.sleep(0.005)
    busy_end = now[0]
    assert energy_j(load, S, busy_end) > 3.5 * (busy_end - S) * 1e-9 + 0.5 * 7.5 * 0.1
    pid_file.unlink()
    now[0] += S
    load.observe()
    now[0] += S
    assert energy_j(load, busy_end + S, now[0]) == pytest.approx(3.5)


def test_a_live_source_says_nothing_about_the_time_it_has_not_seen():
    now = [0]
    load = CpuLoad(Path("/nonexistent/pid"), NodePower(), lambda: now[0])
    now[0] = S
    load.observe()
    now[0] = S + 5_000_000  # too soon for another look
    assert load.pieces(0, now[0])[-1][0] == S


def test_node_power_is_linear_between_idle_and_full():
    power = NodePower(3.5, 11.0, 4.0)
    assert (power.watts(0), power.watts(4), power.watts(2)) == (3.5, 11.0, 7.25)


@given(st.lists(st.integers(1, S), min_size=1, max_size=40))
def test_the_ledger_is_the_integral(gaps_ns):
    ledger = Ledger([Constant(5.0), Steps([(1, 0.1), (3, 0.1)], 0)], 0)
    now_ns = 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        ledger.close_books(now_ns)
    assert ledger.energy_j[0] == pytest.approx(5 * now_ns * 1e-9)
    assert ledger.energy_j[1] == pytest.approx(energy_j(Steps([(1, 0.1), (3, 0.1)], 0), 0, now_ns))
    assert ledger.host_ns == sorted(ledger.host_ns) and len(ledger.rows) == len(ledger.host_ns)


def test_a_long_ledger_thins_out_and_stays_exact():
    ledger = Ledger([Constant(2.0)], 0)
    step_ns = S // 20
    for tick in range(1, 40_000):
        ledger.close_books(tick * step_ns)
    assert len(ledger.rows) <= 12_000
    for host_ns, (joules,) in zip(ledger.host_ns, ledger.rows, strict=True):
        assert joules == pytest.approx(2e-9 * host_ns, abs=1e-5)
    assert ledger.host_ns[0] == 0 and ledger.until_ns == 39_999 * step_ns
