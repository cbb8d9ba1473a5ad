"""`hookrun dllama` around a program that prints, asks and sends as distributed-llama does; and around the real one if it is here.

DLLAMA (the program), DLLAMA_MODEL and DLLAMA_TOKENIZER name the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from epi_protocol.events import KIND_NAME, span_batch

from .dllama_maker import write_model

PROMPT = " ".join(["word"] * 40) + "."
STEPS = 50
TOKENS = STEPS - 39


@pytest.fixture(scope="session")
def dllama(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    out = tmp_path_factory.mktemp("fake") / "dllama"
    source = Path(__file__).with_name("fake_dllama.cpp")
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-o", str(out), str(source)], check=True, timeout=60)
    return str(out)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.m")


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hookrun", "dllama", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})


def hookrun(*arguments: object, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, **environment)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        batches = [span_batch(body) for kind, body in msgpack.Unpacker(file) if kind == "spans"]
    return [{**row, "kind": KIND_NAME[row["kind"]]} for batch in batches for row in batch.rows()]


def message(path: Path, wanted: str) -> dict[str, Any]:
    with path.open("rb") as file:
        (found,) = [body for kind, body in msgpack.Unpacker(file) if kind == wanted]
    return found


def inference(dllama: str, model: Path, *more: str) -> tuple[object, ...]:
    return ("--", dllama, "inference", "--model", model, "--prompt", PROMPT, "--steps", STEPS, *more)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[Any]]]:
    processes: list[subprocess.Popen[Any]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def listening(port: int) -> None:
    """Wait until the port is taken, without connecting: the worker takes its first visitor for the root."""
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_layers_of_a_single_node_and_the_programs_own_output(dllama: str, model: Path, tmp_path: Path) -> None:
    out, operations = tmp_path / "root.events", tmp_path / "operations.csv"
    code, stdout, stderr = hookrun("--out", out, "--operations", operations, *inference(dllama, model))
    assert code == 0, stderr
    assert len(operations.read_text().splitlines()) == 1 + 1 + 2 * 26 + 6
    bare = subprocess.run(list(map(str, inference(dllama, model)[1:])), capture_output=True, text=True, check=True).stdout
    strip = [line for line in stdout.splitlines() if "Pred" not in line and "Eval" not in line and "tokens/s" not in line]
    assert strip == [line for line in bare.splitlines() if "Pred" not in line and "Eval" not in line and "tokens/s" not in line]
    counted = Counter(row["kind"] for row in rows(out))
    assert counted == {
        "embedding": TOKENS + 2, "attention": 2 * (TOKENS + 2), "ffn": 2 * (TOKENS + 2), "head": TOKENS + 2,
        "token": TOKENS, "prefill": 1, "decode": 1, "request": 1,
    }  # fmt: skip
    assert [row["count"] for row in rows(out) if row["kind"] == "head"][:2] == [32, 7]
    begin = message(out, "run_begin")
    assert (begin["label"], begin["settings"]["level"], begin["settings"]["nodes"]) == ("tiny.m", 2, 1)
    assert begin["model"]["n_head_kv"] == [2, 2]
    assert message(out, "run_end")["status"] == "complete"


def test_the_result_as_json_leaves_the_output_on_stderr(dllama: str, model: Path) -> None:
    code, stdout, stderr = hookrun("--no-daemon", "--json", *inference(dllama, model))
    result = json.loads(stdout)
    assert (code, result["tokens"], result["prompt_tokens"], result["exit_code"]) == (0, TOKENS, 39, 0)
    assert result["problems"] == []
    assert result["text"].startswith(" the cat\n\n\nsat the")
    assert "🔶 Pred" in stderr


@pytest.mark.parametrize("stdbuf", [True, False])
def test_without_the_shim_tokens_and_phases_are_seen(dllama: str, model: Path, tmp_path: Path, stdbuf: bool) -> None:
    out = tmp_path / "root.events"
    environment = {} if stdbuf else {"PATH": "/nowhere"}
    code, _stdout, stderr = hookrun("--no-shim", "--out", out, *inference(dllama, model), **environment)
    assert code == 0, stderr
    assert Counter(row["kind"] for row in rows(out)) == {"token": TOKENS, "prefill": 1, "decode": 1, "request": 1}
    assert message(out, "run_begin")["settings"]["level"] == 1


def test_root_and_worker_are_measured_side_by_side(
    dllama: str, model: Path, tmp_path: Path, port: int, started: list[subprocess.Popen[Any]]
) -> None:
    root_out, worker_out = tmp_path / "root.events", tmp_path / "worker.events"
    worker = start("--out", worker_out, "--", dllama, "worker", "--port", port, "--fake-model", model)
    started.append(worker)
    listening(port)
    code, _stdout, stderr = hookrun("--out", root_out, *inference(dllama, model, "--workers", f"127.0.0.1:{port}"))
    assert code == 0, stderr
    time.sleep(0.3)
    worker.send_signal(signal.SIGINT)
    _stdout, stderr = worker.communicate(timeout=30)
    assert worker.returncode == 130
    assert f"{TOKENS + 2} forward passes" in stderr
    for path in (root_out, worker_out):
        seen = rows(path)
        assert message(path, "run_end")["status"] == "complete"
        assert sum(row["kind"] == "attention" for row in seen) == 2 * (TOKENS + 2)
        assert sum(row["kind"] == "token" for row in seen) == TOKENS
        assert all(row["begin_ns"] <= row["end_ns"] for row in seen)
    at_root = {row["token"]: row for row in rows(root_out) if row["kind"] == "token"}
    for row in (row for row in rows(worker_out) if row["kind"] == "token"):  # one machine, so one clock
        assert row["end_ns"] > at_root[row["token"]]["begin_ns"]
        assert row["begin_ns"] < at_root[row["token"]]["end_ns"]


def test_a_frozen_worker_does_not_hang_the_root_for_ever(
    dllama: str, model: Path, tmp_path: Path, port: int, started: list[subprocess.Popen[Any]]
) -> None:
    out = tmp_path / "root.events"
    command = [dllama, "worker", "--port", str(port), "--fake-model", str(model)]
    started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "FAKE_FREEZE": "5"}))
    listening(port)
    workers = ("--workers", f"127.0.0.1:{port}")
    code, _stdout, stderr = hookrun("--watchdog", 1.5, "--out", out, *inference(dllama, model, *workers))
    assert code != 0
    assert "another node is frozen or has lost its power" in stderr
    assert message(out, "run_end")["status"] == "aborted"
    assert sum(row["kind"] == "token" for row in rows(out)) == 3


def test_a_program_that_fails_keeps_its_code_and_its_words(dllama: str, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "root.events"
    code, stdout, stderr = hookrun("--out", out, *inference(dllama, model), FAKE_SHORT="1")
    assert code == 1
    assert "🚨 Execution error: Connection reset by peer" in stdout
    assert "hookrun: the program ended with code 1: Critical error: Execution failed in one of the threads" in stderr
    assert sum(row["kind"] == "token" for row in rows(out)) == 3
    assert message(out, "run_end")["status"] == "aborted"


def test_steps_that_are_not_known_are_said(dllama: str, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "root.events"
    code, _stdout, stderr = hookrun("--out", out, *inference(dllama, model), FAKE_STEPS="50")
    assert code == 0
    assert "asked 101 times per token, which no known list of steps explains" in stderr
    assert Counter(row["kind"] for row in rows(out)) == {"token": TOKENS, "prefill": 1, "decode": 1, "request": 1}


def test_the_shim_is_compared_with_none(dllama: str, model: Path) -> None:
    code, stdout, stderr = hookrun("--overhead", 6, "--json", *inference(dllama, model, "--steps", "600"))
    assert code == 0, stderr
    result = json.loads(stdout)
    assert (result["rounds"], len(result["ratio"]["interval"])) == (6, 2)
    assert result["ratio"]["interval"][0] <= result["ratio"]["median"] <= result["ratio"]["interval"][1]
    assert result["token_ms"] > 0
    code, _stdout, stderr = hookrun("--overhead", 6, "--", dllama, "worker")
    assert (code, "compares a root" in stderr) == (1, True)
    code, _stdout, stderr = hookrun("--overhead", 6, *inference(dllama, model, "--steps", "41"))
    assert (code, "over too soon to be timed; raise the program's --steps" in stderr) == (1, True)


def test_an_interrupted_root_is_aborted(dllama: str, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "root.events"
    command = ("--", dllama, "inference", "--model", model, "--prompt", PROMPT, "--steps", 10_000_000)
    process = start("--out", out, *command)
    part = out.with_name("root.events.part")
    deadline = time.monotonic() + 30
    while not part.exists() or part.stat().st_size < 20_000:
        assert time.monotonic() < deadline
        assert process.stdout is not None
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in stderr
    assert message(out, "run_end")["status"] == "aborted"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inference", "--model", "ODD"], "do not divide"),
        (["inference", "--model", "MODEL", "--workers", "a:1", "b:2"], "cannot be shared among 3 nodes"),
        (["inference", "--model", "/nowhere.m"], "cannot read the model"),
        (["simulate"], "mode is 'simulate'"),
        (["--operations", "x.csv", "worker"], "--operations needs a root"),
    ],
)
def test_what_would_go_wrong_silently_is_refused_before(
    dllama: str, model: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    odd = write_model(tmp_path / "odd.m", n_heads=3)
    named = [{"ODD": str(odd), "MODEL": str(model)}.get(word, word) for word in arguments]
    options = [named.pop(0), named.pop(0)] if named[0] == "--operations" else []
    code, stdout, stderr = hookrun("--no-daemon", *options, "--", dllama, *named)
    assert (code, stdout) == (1, "")
    assert sentence in stderr
    assert len(stderr.splitlines()) == 1


def test_the_real_program_agrees_with_its_stamps() -> None:
    names = ("DLLAMA", "DLLAMA_MODEL", "DLLAMA_TOKENIZER")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not set: no real distributed-llama here")
    program, model, tokenizer = (os.environ[name] for name in names)
    arguments = ("--tokenizer", tokenizer, "--prompt", "Once upon a time.", "--steps", "32", "--buffer-float-type", "q80")
    code, stdout, stderr = hookrun("--no-daemon", "--json", "--", program, "inference", "--model", model, *arguments)
    assert code == 0, stderr
    assert json.loads(stdout)["problems"] == []
