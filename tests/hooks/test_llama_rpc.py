"""llama.cpp over its RPC backend: two servers on loopback, and what is no server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookrun.cli import main
from hookrun.errors import HookrunError
from hookrun.llama import remote
from hookrun.llama.remote import check_servers, endpoints

from .gguf_maker import tiny_deci

pytest.importorskip("llama_cpp")

IN_A_PROCESS_OF_ITS_OWN = """
import json, sys
from pathlib import Path
from epi_protocol.events import KIND_NAME, SpanBatch
from hookrun.llama import Runner, Workload
from hookrun.llama.instrument import instrument
from hookrun.llama.loading import load_engine, set_wait_policy
from hookrun.llama.settings import ContextSettings
from hookrun.sending.ring import SpanRing

set_wait_policy()
engine, warnings = load_engine(Path(sys.argv[1]), "off", servers=sys.argv[2:])
made = instrument(engine, ContextSettings(256, 1), remote=len(sys.argv) > 2)
ring = SpanRing()
(request,) = Runner(made, ring).run(Workload(((1, 2, 3),), tokens=5))
count, columns = ring.drain(10_000)
kinds = [KIND_NAME[row["kind"]] for row in SpanBatch("r", 0, count, 0, columns).rows()]
print(json.dumps({
    "tokens": request.tokens, "placement": engine.placement, "mode": made.tracer.mode, "warnings": warnings + list(made.warnings),
    "attention": kinds.count("attention"), "unmapped": made.tracer.unmapped,
}))
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def servers() -> Iterator[list[str]]:
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "hookrun", "rpc-server", "--threads", "1", "--port"]
    pipe = subprocess.PIPE
    running = [subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=pipe, text=True) for port in ports]
    for port in ports:
        wait_for(port)
    yield [f"127.0.0.1:{port}" for port in ports]
    for process, number in zip(running, (signal.SIGINT, signal.SIGTERM), strict=True):
        process.send_signal(number)
        _stdout, stderr = process.communicate(timeout=20)
        assert process.returncode == 128 + number
        assert "RPC has no security" in stderr


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 40
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def run(model: Path, *servers: str) -> dict[str, Any]:
    command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(model), *servers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_layers_on_other_machines_give_the_same_tokens_and_say_where_they_are(tmp_path: Path, servers: list[str]) -> None:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(tiny_deci([4, 4, 2, 4], [2, 2, 1, 2]))
    alone, shared = run(model), run(model, *servers)
    assert shared["tokens"] == alone["tokens"]
    assert alone["placement"] == ["local"] * 5
    assert set(shared["placement"]) == set(servers)
    assert shared["placement"] == sorted(shared["placement"], key=servers.index)
    assert (alone["mode"], shared["mode"]) == ("abort", "eval")
    assert alone["attention"] == shared["attention"] == 4 * 6
    assert shared["unmapped"] == 0
    assert ["RPC has no security" in warning for warning in shared["warnings"]] == [True]


def test_servers_are_named_by_host_and_port() -> None:
    assert endpoints("10.0.0.2:5000, pi4") == ("10.0.0.2:5000", "pi4:50052")
    for wrong in ("10.0.0.2:x", ":50052", "a:0", "a:70000"):
        with pytest.raises(HookrunError, match=r"is no HOST:PORT of an rpc-server"):
            endpoints(wrong)
    for number in (0, 17):
        with pytest.raises(HookrunError, match=f"names {number} servers; 1 to 16"):
            endpoints(",".join(["a:1"] * number))


def test_where_no_server_answers_the_engine_is_not_let_near(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HookrunError, match=r"no rpc-server of this engine's version answers at 127\.0\.0\.1:"):
        check_servers([f"127.0.0.1:{free_port()}"])
    monkeypatch.setattr(remote, "PATIENCE_S", 3.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HookrunError, match=r"the rpc-server at .* answers nothing|no rpc-server of this engine's version"):
            check_servers([f"127.0.0.1:{other.getsockname()[1]}"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "pi5"], "is no IPv4 address"),
        (["--cache", "/proc/nothing/here"], "cannot keep weights in /proc/nothing/here"),
    ],
)
def test_a_server_that_cannot_be_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rpc-server", *arguments]) == 1
    assert sentence in capsys.readouterr().err


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "hookrun", "rpc-server", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "llama.cpp does not serve at 127.0.0.1:" in done.stderr
