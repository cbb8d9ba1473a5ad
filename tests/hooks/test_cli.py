"""The command as a person meets it: what it prints, where it writes, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from epi_protocol.events import KIND, span_batch
from hookrun.cli import main
from hookrun.sending import recording

from .gguf_maker import gguf, llama, tiny_deci

pytest.importorskip("llama_cpp")
PROMPT = "The capital of France is"


def hookrun(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hookrun", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def messages(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        return [(kind, body) for kind, body in msgpack.Unpacker(file)]


def told(stderr: str) -> str:
    """The one sentence on stderr, without warnings."""
    lines = [line for line in stderr.splitlines() if not line.startswith("hookrun: warning: ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("hookrun: ")
    return lines[0]


def test_a_run_for_the_daemon(smollm2: Path, fake_daemon: Callable[..., Any]) -> None:
    daemon = fake_daemon()
    daemon.ping_every = 3
    where = ("--daemon", daemon.address, "--node", "pi5-a", "--label", "base")
    what = ("--model", smollm2, "--prompt", PROMPT, "--tokens", 8, "--repeat", 2, "--warmup", 1, "--idle", 0.1, "--threads", 1)
    done = hookrun("llama", *what, *where)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 requests, 5 prompt + 8 decoded tokens each, 1 threads" in done.stdout
    assert ".mcap" in done.stdout
    assert "Paris" in done.stdout
    (begin,) = daemon.bodies("run_begin")
    assert begin["label"] == "base"
    settings, model = begin["settings"], begin["model"]
    assert settings["stamps"]["calls_per_token"] == 515
    assert settings["stamps"]["mode"] == "abort"
    assert (settings["tokens"], settings["repeat"], settings["threads"], settings["prompt_tokens"]) == (8, 2, 1, 5)
    assert (model["n_layer"], model["n_head"], model["n_head_kv"]) == (30, [9] * 30, [3] * 30)
    assert model["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    (end,) = daemon.bodies("run_end")
    rows = [row for seq in sorted(daemon.batches) for row in daemon.batches[seq].rows()]
    assert len(rows) == end["spans"]
    assert end["dropped"] == 0
    assert sum(row["kind"] == KIND["attention"] for row in rows) == 30 * 2 * (8 + 1)
    idle = [row["end_ns"] - row["begin_ns"] for row in rows if row["kind"] == KIND["idle"]]
    assert len(idle) == 2
    assert min(idle) >= 100_000_000


def test_a_run_for_a_file_in_json(smollm2: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.events"
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Where is Paris?")
    what = ("--model", smollm2, "--prompt-file", prompt, "--chat", "--tokens", 4, "--stamps", "eval")
    done = hookrun("llama", *what, "--out", out, "--json", OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["file_path"], result["daemon_path"], result["problems"]) == ("complete", str(out), None, [])
    assert result["settings"]["omp_wait_policy"] == "ACTIVE (by the user)"
    assert result["settings"]["stamps"]["mode"] == "eval"
    assert result["decode_tokens_per_s"] > 0
    assert len(result["requests"]) == 1
    assert result["settings"]["prompt_tokens"] > 10  # the template's marks, each one token
    stored = messages(out)
    assert sum(span_batch(body).count for kind, body in stored if kind == "spans") == result["spans"]
    assert stored[-1][1]["status"] == "complete"


def test_a_folder_of_prompts_in_order_with_everything_around_it(smollm2: Path, tmp_path: Path) -> None:
    out, prompts = tmp_path / "run.events", tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "b.txt").write_text("The capital of France is")
    (prompts / "a.txt").write_text("Hello")
    what = ("--model", smollm2, "--prompt-file", prompts, "--tokens", 2, "--stamps", "off", "--settle", 0.1, "--batch", 4)
    done = hookrun("llama", *what, "--out", out, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [request["prompt_tokens"] for request in result["requests"]] == [1, 5]
    settings = dict(messages(out))["run_begin"]["settings"]
    assert settings["prompt_tokens"] == [1, 5]
    assert settings["settle"]["waited_s"] >= 0.1
    assert (settings["batch"], settings["load_pattern"], settings["telemetry"]) == (4, None, True)
    assert set(settings["processor"]) == {"governors", "turbo", "min_hz", "max_hz", "throttled"}
    looks = [body["readings"] for kind, body in messages(out) if kind == "telemetry"]
    assert len(looks) >= 2
    assert all(look["memory_available_bytes"] > 0 for look in looks)


def test_a_run_may_hold_its_own_check_of_the_overhead(smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookrun.llama.job.CHECK_ROUNDS", 6)
    monkeypatch.setattr("hookrun.llama.job.CHECK_TOKENS", 1)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    out = tmp_path / "run.events"
    what = ["--model", str(smollm2), "--prompt", PROMPT, "--tokens", "2", "--threads", "1", "--overhead-check"]
    assert main(["llama", *what, "--out", str(out)]) == 0
    stored = messages(out)
    check = dict(stored)["run_begin"]["settings"]["overhead_check"]
    assert check["wall"]["interval"][0] <= check["wall"]["median"] <= check["wall"]["interval"][1]
    rows = [row for kind, body in stored if kind == "spans" for row in span_batch(body).rows()]
    assert sum(row["kind"] == KIND["token"] for row in rows) == 2  # those of the check are not in the run


def test_a_backend_without_fusion_is_understood(smollm2: Path) -> None:
    what = ("--model", smollm2, "--prompt", PROMPT, "--tokens", 1, "--no-daemon", "--json")
    result = json.loads(hookrun("llama", *what, GGML_CPU_DISABLE_FUSION="1").stdout)
    assert (result["settings"]["stamps"]["mode"], result["settings"]["stamps"]["calls_per_token"]) == ("abort", 576)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_closed_as_aborted(smollm2: Path, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "run.events"
    what = ("--model", smollm2, "--prompt", PROMPT, "--tokens", 4000, "--out", out)
    command = [sys.executable, "-m", "hookrun", "llama", *map(str, what)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (part := out.with_name("run.events.part")).exists() or part.stat().st_size < 20_000:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in stderr
    stored = messages(out)
    assert stored[-1][0] == "run_end"
    assert stored[-1][1]["status"] == "aborted"
    assert sum(span_batch(body).count for kind, body in stored if kind == "spans") == stored[-1][1]["spans"] > 0


def test_a_daemon_that_dies_does_not_stop_the_inference(
    smollm2: Path, tmp_path: Path, fake_daemon: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = fake_daemon()
    what = ("--model", smollm2, "--prompt", PROMPT, "--tokens", 100, "--repeat", 1, "--daemon", daemon.address, "--json")
    command = [sys.executable, "-m", "hookrun", "llama", *map(str, what)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not daemon.batches:
        assert process.poll() is None
        time.sleep(0.01)
    daemon.die()
    time.sleep(0.5)
    daemon.start()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    result = json.loads(stdout)
    assert sum(batch.count for batch in daemon.batches.values()) == result["spans"]
    assert result["requests"][0]["tokens"] == 100


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")

    def write(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "MODEL": str(smollm2),
        "TEXT": write("notes.gguf", b"this is a text file and not a model"),
        "CUT": write("cut.gguf", smollm2.read_bytes()[:1_000_000]),
        "HALF": write("half.gguf", smollm2.read_bytes()[:60_000_000]),
        "SEVEN": write("seven.gguf", gguf(llama(llama__attention__head_count=7, llama__attention__head_count_kv=3))),
        "MAMBA": write("mamba.gguf", gguf({"general.architecture": "mamba", "mamba.block_count": 2})),
        "WEIGHTLESS": write("weightless.gguf", gguf(llama())),
        "NOLAYERZERO": write("zero.gguf", tiny_deci([0, 2], [0, 1])),
        "EMPTY": write("empty.txt", b" \n"),
        "LATIN": write("latin.txt", "à la carte".encode("latin-1")),
        "NOPROMPTS": str(empty_folder(folder)),
        "NOWHERE": str(folder / "nowhere"),
        "DEAD": f"tcp://127.0.0.1:{port}",
    }


def empty_folder(parent: Path) -> Path:
    (parent / "prompts").mkdir()
    (parent / "prompts" / "notes.md").write_text("not a prompt")
    return parent / "prompts"


BAD = [
    ("--model NOWHERE --prompt x", "cannot read the model .*nowhere: No such file"),
    ("--model TEXT --prompt x", "notes.gguf is not a GGUF file"),
    ("--model CUT --prompt x", "cut.gguf is a damaged or cut-off GGUF file|cannot load"),
    ("--model HALF --prompt x", "the engine cannot load .*half.gguf"),
    ("--model SEVEN --prompt x", "7 query heads for 3 key/value heads"),
    ("--model MAMBA --prompt x", "architecture 'mamba' without .*transformer decoders of the Llama kind"),
    ("--model WEIGHTLESS --prompt x", "the engine cannot load .*weightless.gguf"),
    ("--model NOLAYERZERO --prompt x", "the engine cannot load .*zero.gguf"),
    ("--model MODEL --prompt-file EMPTY", "empty.txt is empty"),
    ("--model MODEL --prompt-file LATIN", "latin.txt is not UTF-8"),
    ("--model MODEL --prompt-file NOPROMPTS", r"the folder .*prompts holds no prompt; .*\*\.txt"),
    ("--model MODEL --prompt x --cache-type-v q4_0 --flash-attn off", "needs flash attention"),
    ("--model MODEL --prompt x --rpc here:there", "'here:there' is no HOST:PORT"),
    ("--model MODEL --prompt-file NOWHERE", "cannot read the prompt"),
    ("--model MODEL --prompt hello --ctx 32 --tokens 40", "and 40 to decode do not fit into --ctx 32; give at least 41"),
    ("--model MODEL --prompt hello --tokens 9000", "trained for 8192"),
    ("--model MODEL --prompt hello --out NOWHERE/run.events", "cannot write"),
    ("--model MODEL --prompt hello --daemon DEAD", "no daemon answers at tcp://127.0.0.1:.*--no-daemon or --out FILE"),
    ("--model MODEL --prompt hello --daemon DEAD --no-daemon", "exclude each other"),
    ("--model MODEL --prompt hello --daemon here", "is no address of a daemon"),
]


@pytest.mark.parametrize(("line", "sentence"), BAD, ids=[line for line, _sentence in BAD])
def test_bad_input_gets_one_sentence(
    files: dict[str, str], line: str, sentence: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WELCOME_S", 0.3)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    arguments = ["/".join(files.get(part, part) for part in word.split("/")) for word in line.split()]
    where = [] if "--out" in line or "--daemon" in line else ["--no-daemon"]
    assert main(["llama", *arguments, *where]) == 1
    stdout, stderr = capfd.readouterr()
    assert re.search(sentence, told(stderr))
    assert stdout == ""


def test_bad_input_leaves_no_file_behind(files: dict[str, str], tmp_path: Path) -> None:
    assert main(["llama", "--model", files["TEXT"], "--prompt", "x", "--out", str(tmp_path / "run.events")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_process_ends_with_the_sentence_and_nothing_of_the_engines(files: dict[str, str]) -> None:
    done = hookrun("llama", "--model", files["HALF"], "--prompt", "x", "--no-daemon")
    assert done.returncode == 1
    assert "the engine cannot load" in told(done.stderr)


@pytest.mark.parametrize(
    "line", ["--tokens -1", "--tokens x", "--repeat 0", "--idle -2", "--gap nan", "--threads 0", "--stamps on"]
)
def test_bad_arguments_are_a_matter_of_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["llama", "--model", "m.gguf", "--prompt", "x", *line.split()])
    assert ended.value.code == 2
    assert f"argument {line.split()[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["llama"], ["overhead"], ["dllama"], ["rpc-server"], ["deliver"]])
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "example" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_traceback(smollm2: Path) -> None:
    what = ("--model", smollm2, "--prompt", "x", "--tokens", 1, "--no-daemon")
    command = [sys.executable, "-m", "hookrun", "llama", *map(str, what)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    process.wait(60)
    assert "Traceback" not in stderr
    assert "Exception" not in stderr


def test_overhead_compares_every_kind_of_stamps(smollm2: Path) -> None:
    done = hookrun("overhead", "--model", smollm2, "--threads", 1, "--rounds", 2, "--tokens", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    names = [arm["name"] for arm in result["arms"]]
    assert names[:3] == ["nothing", "nothing, again", "tokens only"]
    assert {"abort in Python", "eval in Python"} <= set(names)
    assert all(arm["wall"]["low"] <= arm["wall"]["median"] <= arm["wall"]["high"] for arm in result["arms"])
    assert result["arms"][0]["wall"] == {"median": 1.0, "low": 1.0, "high": 1.0, "interval": None}
    spans = result["spans_per_token"]
    assert (spans["tokens only"], spans["abort in Python"], spans["eval in Python"], result["spans_lost"]) == (1, 63, 63, 0)
    done = hookrun("overhead", "--model", smollm2, "--threads", 1, "--rounds", 2, "--tokens", 1, "--stamps", "off")
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert rows == ["nothing", "nothing,", "tokens", "0"], done.stdout
