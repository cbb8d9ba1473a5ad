"""`hookrun -- program` against a real `epid serve` with the simulated meter: what stands in the run file at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from epi_protocol.events import KIND, KIND_NAME
from epid.analysis.timeline.run import Run, load_run
from epid.analysis.timeline.timeline import meter_track, span_table
from epid.record.reader import RunFile
from fakes.epid_serve import Daemon

pytestmark = [
    pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH"),
    pytest.mark.xdist_group("end to end"),  # one daemon and one meter for all of them
]
LAYERS, PROMPT, NEW, BATCH = 3, 5, 6, 2
TRANSFORMERS = f"""
import os
import sys
import time
import torch
from transformers import AutoConfig, AutoModelForCausalLM
torch.set_num_threads(1)
torch.manual_seed(3)
shape = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers={LAYERS}, num_attention_heads=4,
             num_key_value_heads=2, eos_token_id=None, bos_token_id=None, pad_token_id=0)
model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **shape)).eval()
tokens = torch.arange({BATCH * PROMPT}).reshape({BATCH}, {PROMPT}) + 1
print(model.generate(tokens, max_new_tokens={NEW}, do_sample=False).shape)
time.sleep(2)
try:
    os.wait()
except ChildProcessError:
    print("no child")
sys.exit(3)
"""
LLAMA_CPP = """
import llama_cpp
llama = llama_cpp.Llama(MODEL, n_ctx=256, n_threads=1, verbose=False)
print(llama("The capital of France is", max_tokens=4, temperature=0)["choices"][0]["text"])
"""
FAKE_VCGENCMD = """#!/bin/sh
case $1 in
  get_throttled) echo throttled=0x50000 ;;
  pmic_read_adc) printf ' VDD_CORE_A current(7)=2.00000000A\\n VDD_CORE_V volt(15)=0.75000000V\\n' ;;
esac
"""


@dataclass(frozen=True)
class Bench:
    """A daemon with a simulated meter of 5 W, and a folder with a board's firmware to ask."""

    daemon: Daemon
    folder: Path

    def run(self, *words: str, options: tuple[str, ...] = ()) -> Recorded:
        """Run a program under hookrun, and return it with what the daemon has recorded."""
        before = set(self.runs())
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        command = [sys.executable, "-m", "hookrun", "--daemon", self.daemon.endpoint, "--node", "pi0", *options, "--", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, cwd=self.folder)
        (path,) = set(self.runs()) - before
        return Recorded(done, load_run(path))

    def runs(self) -> list[Path]:
        return list((self.folder / "runs").glob("*.mcap"))


@dataclass(frozen=True)
class Recorded:
    """A program that has ended, and the run file it left."""

    done: subprocess.CompletedProcess[str]
    run: Run

    def kinds(self) -> Counter[str]:
        return Counter(KIND_NAME[int(kind)] for kind in span_table(self.run.node).columns["kind"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("end-to-end")
    (folder / "bin").mkdir()
    (folder / "bin" / "vcgencmd").write_text(FAKE_VCGENCMD)
    (folder / "bin" / "vcgencmd").chmod(0o755)
    code = "from epi_tools.cli import epi; epi()"
    words = [sys.executable, "-c", code, "sim", "--json", "--tcp", "127.0.0.1:0", "--channel", "0=const:5"]
    sim = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert sim.stdout is not None
        port = json.loads(sim.stdout.readline())["port"].rpartition("//")[2]
        daemon = Daemon(folder / "runs", "--tcp", port, "--channel", "pi0=0", "--wait")
        try:
            yield Bench(daemon, folder)
        finally:
            daemon.stop()
    finally:
        sim.send_signal(signal.SIGINT)
        sim.communicate(timeout=20)


@pytest.fixture(scope="module")
def recorded(bench: Bench) -> Recorded:
    """A program that lets transformers generate."""
    return bench.run(sys.executable, "-c", TRANSFORMERS, options=("--settle", "1", "--load-pattern", "7,1"))


def test_the_program_is_as_ever(recorded: Recorded) -> None:
    assert recorded.done.returncode == 3
    assert recorded.done.stdout == f"torch.Size([{BATCH}, {PROMPT + NEW}])\nno child\n", recorded.done.stderr


def test_every_kind_of_span_is_there(recorded: Recorded) -> None:
    found = recorded.kinds()
    computations = 1 + NEW - 1  # the prompt, then each token but the last, which nothing follows
    del found["burn"], found["rest"]
    assert found == {
        "embedding": computations,
        "attention": LAYERS * computations,
        "ffn": LAYERS * computations,
        "head": computations,
        "token": NEW - 1,
        "prefill": 1,
        "decode": 1,
        "request": 1,
    }


def test_phases_layers_batch_and_sequence_length_are_carried(recorded: Recorded) -> None:
    table = span_table(recorded.run.node)
    for kind in ("attention", "ffn"):
        halves = table.of_kind(KIND[kind])
        assert sorted(halves["layer"]) == sorted(list(range(LAYERS)) * NEW)
        assert set(zip(halves["phase"], halves["count"], halves["batch"], strict=True)) == {
            (KIND["prefill"], BATCH * PROMPT, BATCH),
            (KIND["decode"], BATCH, BATCH),
        }
    tokens = table.of_kind(KIND["token"])
    assert list(tokens["token"]) == list(range(NEW - 1))
    assert np.all(np.diff(tokens["begin_ns"]) > 0)
    assert recorded.run.node.begin["model"]["n_layer"] == LAYERS


def test_settling_and_the_load_pattern_of_a_program(recorded: Recorded) -> None:
    settings = recorded.run.node.begin["settings"]
    assert settings["load_pattern"] == {"seed": 7, "seconds": 1.0}
    assert settings["settle"]["waited_s"] >= 1
    table = span_table(recorded.run.node)
    (request,) = table.of_kind(KIND["request"])["begin_ns"]
    for kind in ("burn", "rest"):
        begins = table.of_kind(KIND[kind])["begin_ns"]
        assert begins[0] < request < begins[-1]


def test_the_file_is_whole(recorded: Recorded) -> None:
    run = recorded.run
    assert (run.end["status"], run.end["dropped"], run.damage) == ("complete", "0", [])
    assert int(run.end["spans"]) == sum(recorded.kinds().values())


def test_rails_of_a_board_reach_the_run(recorded: Recorded) -> None:
    looks = [readings for _node_ns, readings in recorded.run.node.telemetry]
    assert len(looks) >= 4
    assert {look["rail_VDD_CORE_w"] for look in looks if "rail_VDD_CORE_w" in look} == {1.5}
    assert {look["throttled"] for look in looks if "throttled" in look} == {0x50000}


def test_spans_and_simulated_watts_stand_on_one_timeline(recorded: Recorded) -> None:
    (board,) = recorded.run.boards.values()
    assert board.simulated
    request, track = span_table(recorded.run.node).of_kind(KIND["request"]), meter_track(board, 0)
    assert track.host_ns[0] < request["begin_ns"][0] < request["end_ns"][0] < track.host_ns[-1]
    seconds = (track.host_ns[-1] - track.host_ns[0]) / 1e9
    assert (track.energy_j[-1] - track.energy_j[0]) / seconds == pytest.approx(5.0, rel=0.2)


def test_how_long_a_token_takes_to_the_daemon(recorded: Recorded) -> None:
    """What hookrun tells from its own clock is no less than what the clock map gives for the way there."""
    said = re.search(r"a token is stored after (\d+) ms \(median; at most (\d+)\)", recorded.done.stderr)
    assert said, recorded.done.stderr
    median_ms, most_ms = map(int, said.groups())
    assert 0 < median_ms <= most_ms < 10_000
    messages = RunFile(recorded.run.path).messages()
    received = [message.host_ns for message in messages if message.topic.endswith("/spans")]
    table = span_table(recorded.run.node)
    for end_ns in table.of_kind(KIND["token"])["end_ns"]:
        took_ms = min(host_ns - end_ns for host_ns in received if host_ns > end_ns - table.bound_ns) / 1e6
        assert took_ms <= most_ms + table.bound_ns / 1e6 + 1


def test_a_program_with_llama_cpp(bench: Bench, smollm2: Path) -> None:
    pytest.importorskip("llama_cpp")
    found = bench.run(sys.executable, "-c", LLAMA_CPP.replace("MODEL", repr(str(smollm2))), options=("--label", "lc"))
    assert found.done.returncode == 0, found.done.stderr
    assert "Paris" in found.done.stdout
    kinds = found.kinds()
    assert (kinds["attention"], kinds["ffn"], kinds["token"], kinds["request"]) == (30 * 4, 30 * 4, 3, 1)
    assert found.run.label == "lc"
