"""`hookrun -- program`: the program runs as it does without us, whatever it does, and what was recorded is kept or said lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epi_protocol import PROTOCOL_VERSION

from .followed import Run, read_run

FAKE_TORCH = Path(__file__).with_name("fake_torch")
CALL = "import torch; model = torch.Model(); model(torch.Tensor(1, 5)); "


class Bench:
    """Runs programs in a folder of their own, with and without hookrun."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "run.events"
        self.environment = {**os.environ, "PYTHONPATH": str(FAKE_TORCH), "PYTHONDONTWRITEBYTECODE": "1"}

    def plain(self, *command: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        return self._run([*command], **changes)

    def hooked(self, *command: str, options: tuple[str, ...] = (), **changes: Any) -> subprocess.CompletedProcess[str]:
        return self._run([*self.words(*options), *command], **changes)

    def words(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "hookrun", "--out", str(self.out), *options, "--"]

    def run(self) -> Run:
        return read_run(self.out)

    def _run(self, command: list[str], **changes: Any) -> subprocess.CompletedProcess[str]:
        arguments = {"capture_output": True, "text": True, "timeout": 60, "env": self.environment, "cwd": self.folder, **changes}
        return subprocess.run(command, **arguments)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def theirs(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith("hookrun: ")]


def shown(stderr: str) -> list[str]:
    """The program's own lines, without the marks below code and torch's passing on, whose place is taken."""
    lines = [line for line in theirs(stderr) if "^^" not in line]
    passing = [at for at, line in enumerate(lines) if line.endswith("in _wrapped_call_impl")]
    return [line for at, line in enumerate(lines) if at not in passing and at - 1 not in passing]


def ours(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("hookrun: ")]


def test_a_script_with_arguments(bench: Bench) -> None:
    script = bench.folder / "script.py"
    script.write_text(CALL + "import sys; print(sys.argv, sys.path[0], __name__); sys.exit(3)")
    command = (sys.executable, str(script), "--out", "x", "--", "y")
    plain, hooked = bench.plain(*command), bench.hooked(*command)
    assert (hooked.returncode, hooked.stdout) == (plain.returncode, plain.stdout)
    assert theirs(hooked.stderr) == theirs(plain.stderr) == []
    assert ours(hooked.stderr) == [f"hookrun: 8 spans, 0 lost, recorded in {bench.out}"]
    run = bench.run()
    kinds = [(row["kind"], row["layer"]) for row in run.rows]
    halves = [("attention", 0), ("ffn", 0), ("attention", 1), ("ffn", 1)]
    assert kinds == [("embedding", -1), *halves, ("head", -1), ("prefill", -1), ("request", -1)]
    assert run.begin["settings"]["program"].endswith("script.py --out x -- y")


def test_a_module_and_an_entry_point(bench: Bench) -> None:
    (bench.folder / "mod.py").write_text(CALL + "print('module', __name__)")
    assert bench.hooked(sys.executable, "-m", "mod").stdout == "module __main__\n"
    assert bench.run().end["status"] == "complete"
    entry = bench.folder / "my-entry"
    entry.write_text(f"#!{sys.executable}\n{CALL}print('entry')\n")
    entry.chmod(0o755)
    assert bench.hooked(str(entry)).stdout == "entry\n"
    assert len(bench.run().rows) == 8


def test_a_shell_script_around_it(bench: Bench) -> None:
    done = bench.hooked("sh", "-c", f'"{sys.executable}" -c "{CALL}"; echo after; exit 5')
    assert (done.returncode, done.stdout) == (5, "after\n")
    assert bench.run().end["status"] == "complete"


def test_the_environment_and_the_path_are_the_programs(bench: Bench) -> None:
    code = "import sys, os; print(sys.path, dict(os.environ), sys.modules.keys() - {'sitecustomize'} >= {'hookrun'})"
    plain, hooked = bench.plain(sys.executable, "-c", code), bench.hooked(sys.executable, "-c", code)
    assert hooked.stdout == plain.stdout.replace("False", "True")
    assert "nothing was recorded: this program has called no model" in hooked.stderr


def test_the_programs_own_sitecustomize_is_read(bench: Bench) -> None:
    (bench.folder / "own").mkdir()
    (bench.folder / "own" / "sitecustomize.py").write_text("import builtins; builtins.marked = 'own'")
    bench.environment["PYTHONPATH"] = f"{bench.folder / 'own'}{os.pathsep}{FAKE_TORCH}"
    code = CALL + "import sitecustomize; print(marked, sitecustomize.__file__)"
    done = bench.hooked(sys.executable, "-c", code)
    assert done.stdout == f"own {bench.folder / 'own' / 'sitecustomize.py'}\n"
    assert theirs(done.stderr) == []


def test_an_uncaught_exception_looks_like_the_programs(bench: Bench) -> None:
    script = bench.folder / "script.py"
    script.write_text(CALL + "\nmodel(torch.Tensor(1, 99))\n")
    plain, hooked = bench.plain(sys.executable, str(script)), bench.hooked(sys.executable, str(script))
    assert (plain.returncode, hooked.returncode) == (1, 1)
    assert shown(hooked.stderr) == shown(plain.stderr)
    assert bench.run().end["status"] == "aborted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT])
def test_death_by_a_signal(bench: Bench, number: signal.Signals) -> None:
    code = CALL + "import time; print('ready', flush=True)\nwhile True: time.sleep(.01)"
    process = subprocess.Popen(
        [*bench.words(), sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=bench.environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # more than the courier's period, so that what was computed is in the file
    process.send_signal(number)
    _stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == -number
    run = bench.run()
    assert run.end["status"] == "aborted"
    assert len(run.rows) == run.end["spans"] >= 6
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in stderr
    else:
        assert "was ended before it could close its run" in stderr


@pytest.mark.parametrize(
    "leaving",
    [
        "import os; os._exit(7)",
        "import os; os.execv('/bin/sh', ['sh', '-c', 'exit 7'])",
        "raise SystemExit(7)",
        "import sys; sys.exit(7)",
    ],
)
def test_ways_out(bench: Bench, leaving: str) -> None:
    done = bench.hooked(sys.executable, "-c", CALL + leaving)
    assert done.returncode == 7
    run = bench.run()
    assert (run.end["status"], len(run.rows)) == ("complete", 8)
    assert "8 spans, 0 lost" in done.stderr


def test_forked_copies_record_nothing_and_disturb_nothing(bench: Bench) -> None:
    code = CALL + (
        "import os\n"
        "pids = [os.fork() for _ in range(1)]\n"
        "if pids == [0]:\n"
        "    model(torch.Tensor(1, 3)); os._exit(4)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1])); model(torch.Tensor(1, 7))\n"
        "try: os.wait()\n"
        "except ChildProcessError: print('no other child')\n"
    )
    done = bench.hooked(sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "4\nno other child\n")
    run = bench.run()
    assert [row["count"] for row in run.of("prefill")] == [5, 7]
    assert len(ours(done.stderr)) == 1
    assert run.looks >= 2


def test_children_of_the_program(bench: Bench) -> None:
    child = f"[sys.executable, '-c', '''{CALL}''']"
    code = f"import sys, subprocess\n{CALL}\nsys.exit(subprocess.run({child}).returncode)"
    bench.hooked(sys.executable, "-c", code)
    assert [path.name for path in bench.folder.glob("*.events")] == ["run.events"]
    done = bench.hooked(sys.executable, "-c", code, options=("--children",))
    assert done.returncode == 0, done.stderr
    assert len(list(bench.folder.glob("run-*.events"))) == 1
    assert len(ours(done.stderr)) == 2


def test_threads_that_outlive_the_main_one(bench: Bench) -> None:
    code = (
        "import threading, time\n"
        + CALL
        + "\nthreading.Thread(target=lambda: (time.sleep(.3), model(torch.Tensor(1, 9)))).start()"
    )
    assert bench.hooked(sys.executable, "-c", code).returncode == 0
    assert [row["count"] for row in bench.run().of("prefill")] == [5, 9]


def test_threads_that_call_a_model_for_the_first_time_at_once(bench: Bench) -> None:
    """Opening the run takes a while; whoever comes meanwhile waits, and is no second model and no second process."""
    code = (
        "import threading, torch; model = torch.Model(); at_once = threading.Barrier(4)\n"
        "def call():\n    at_once.wait(); model(torch.Tensor(1, 5))\n"
        "threads = [threading.Thread(target=call) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    done = bench.hooked(sys.executable, "-c", code)
    assert [line for line in ours(done.stderr) if "warning" in line] == []
    assert 1 <= len(bench.run().of("prefill")) <= 4
    assert re.search(r"\d+ spans, 0 lost", done.stderr)


@pytest.mark.parametrize("closing", ["sys.stdout.close()", "os.close(1); os.close(2)", "sys.stderr = None"])
def test_closed_outputs(bench: Bench, closing: str) -> None:
    done = bench.hooked(sys.executable, "-c", f"import os, sys\n{CALL}\n{closing}\nos._exit(0)")
    assert done.returncode == 0
    assert theirs(done.stderr) == []
    assert bench.run().end["status"] == "complete"


def test_a_gigabyte_of_output_passes_untouched(bench: Bench) -> None:
    code = CALL + "import sys\nblock = b'x' * (1 << 20)\nfor _ in range(1024): sys.stdout.buffer.write(block)"
    process = subprocess.Popen(
        [*bench.words(), sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=bench.environment
    )
    assert process.stdout is not None
    length = 0
    while chunk := process.stdout.read(1 << 20):
        length += len(chunk)
    assert (process.wait(20), length) == (0, 1 << 30)


def test_standard_input_is_the_programs(bench: Bench) -> None:
    assert bench.hooked(sys.executable, "-c", CALL + "print(input())", input="typed\n").stdout == "typed\n"


def test_signals_mean_to_the_program_what_they_always_mean(bench: Bench) -> None:
    shell = ("sh", "-c", "kill -PIPE $$; echo alive")
    assert bench.hooked(*shell).returncode == bench.plain(*shell).returncode == -signal.SIGPIPE


def test_an_exception_in_a_thread_looks_like_the_programs(bench: Bench) -> None:
    script = bench.folder / "script.py"
    script.write_text(
        f"import threading\n{CALL}\nthread = threading.Thread(target=model, args=(torch.Tensor(1, 99),))\nthread.start()\n"
    )
    plain, hooked = bench.plain(sys.executable, str(script)), bench.hooked(sys.executable, str(script))
    assert "ValueError: 99 tokens" in hooked.stderr
    assert shown(hooked.stderr) == shown(plain.stderr)
    assert hooked.returncode == plain.returncode == 0


def test_a_program_without_python(bench: Bench) -> None:
    done = bench.hooked("echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "started no Python" in done.stderr
    assert list(bench.folder.iterdir()) == []


BAD = [
    (["--"], 1, "no program to run"),
    (["--", "no-such-program"], 127, "there is no program 'no-such-program'"),
    (["--", "./plain.txt"], 126, "plain.txt is not executable.*hookrun -- python ./plain.txt"),
    (["--out", "nowhere/x.events", "--", "true"], 1, "cannot write .*nowhere/x.events"),
    (["--daemon", "tcp://127.0.0.1:1", "--", "true"], 1, "no daemon answers at"),
    (["--repeat-layers", "first:1", "--", "true"], 2, "not random:SEED"),
    (["--repeat-layers", "random:1,0", "--", "true"], 2, "not random:SEED"),
    (["--repeat-layers", "random:1", "--repeat-halves", "random:1", "--", "true"], 2, "not allowed with"),
    (["--detail", "layer", "--repeat-halves", "random:1", "--", "true"], 1, "--repeat-halves needs the halves"),
    (["--detail", "none", "--", "true"], 2, "argument --detail"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), BAD, ids=[" ".join(words) for words, _code, _sentence in BAD])
def test_bad_input_gets_one_sentence(bench: Bench, words: list[str], code: int, sentence: str) -> None:
    (bench.folder / "plain.txt").write_text("print(1)")
    done = bench.plain(sys.executable, "-m", "hookrun", *words)
    assert done.returncode == code
    assert re.search(sentence, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_daemon_hears_it(bench: Bench, fake_daemon: Callable[..., Any]) -> None:
    daemon = fake_daemon()
    words = [sys.executable, "-m", "hookrun", "--daemon", daemon.address, "--label", "base", "--node", "pi5-a", "--"]
    done = bench.plain(*words, sys.executable, "-c", CALL)
    assert done.returncode == 0, done.stderr
    (begin,), (end,) = daemon.bodies("run_begin"), daemon.bodies("run_end")
    assert (begin["label"], end["status"], end["spans"]) == ("base", "complete", 8)
    assert sum(batch.count for batch in daemon.batches.values()) == 8
    assert [body["engine"] for body in daemon.bodies("hello")] == ["none yet", "torch 0.fake"]


def test_a_daemon_of_an_older_protocol_is_told_before_the_program_starts(bench: Bench, fake_daemon: Callable[..., Any]) -> None:
    daemon = fake_daemon(protocol=PROTOCOL_VERSION - 1)
    done = bench.plain(sys.executable, "-m", "hookrun", "--daemon", daemon.address, "--", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "protocol" in done.stderr


def test_a_daemon_that_has_gone_meanwhile_costs_the_program_nothing(bench: Bench, fake_daemon: Callable[..., Any]) -> None:
    daemon = fake_daemon()
    code = "input()\n" + CALL + "print('done')"
    words = [sys.executable, "-m", "hookrun", "--daemon", daemon.address, "--", sys.executable, "-c", code]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=bench.environment
    )
    while "hello" not in daemon.kinds():
        assert process.poll() is None
        time.sleep(0.01)
    daemon.die()
    stdout, stderr = process.communicate("\n", timeout=30)
    assert (process.returncode, stdout) == (0, "done\n")
    assert "no daemon answers" in stderr
    assert "the program goes on, unrecorded" in stderr


def test_help_has_examples(bench: Bench) -> None:
    done = bench.plain(sys.executable, "-m", "hookrun", "run", "--help")
    assert done.returncode == 0
    assert "hookrun -- python" in done.stdout
