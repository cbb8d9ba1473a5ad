"""The demo's laboratory: a simulated meter, the daemon, and a campaign of interleaved runs."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click

from .plan import ARMS, Demo
from .service import service
from .shell import DemoError, run, step, tool

NODE = "pi0"
PROMPT = "Explain in simple words why a load that is removed from a circuit may save less energy than expected."


def measure(plan: Demo) -> None:
    """Start meter and daemon, and run the models in turn under hookrun."""
    for old in ("runs", "campaign"):
        shutil.rmtree(plan.path(old), ignore_errors=True)
    with ExitStack() as stack:
        step(4, "the meter: real firmware, real MicroPython, four simulated chips; and the daemon")
        stack.enter_context(_meter(plan))
        endpoint = stack.enter_context(_daemon(plan))
        step(5, f"{plan.runs} runs of each model, {plan.repeat} requests of {plan.tokens} tokens each")
        _campaign(plan, endpoint)
        run("epid", "status", "--daemon", endpoint)


def _campaign(plan: Demo, endpoint: str) -> None:
    """All runs by one `epi campaign`, whose process tree is what the simulated channel 0 follows."""
    work = {"prompt": PROMPT, "tokens": plan.tokens, "repeat": plan.repeat, "idle": plan.idle_s, "threads": plan.threads}
    where = {"warmup": 1, "node": NODE, "daemon": endpoint}
    lines = [f'name = "demo"\nrepeats = {plan.runs}\ndesign = "abba"\n\n[arms]', *(f'{arm} = "{arm}.gguf"' for arm in ARMS)]
    lines += ["\n[workload]", *(f"{name} = {json.dumps(value)}" for name, value in (work | where).items())]
    file = plan.path("campaign.toml")
    file.write_text("\n".join(lines) + "\n")
    command = [tool("epi"), "campaign", str(file), "--out", str(plan.path("campaign")), "--no-report"]
    process = subprocess.Popen(command)
    plan.path("runner.pid").write_text(f"{process.pid}\n")
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        raise DemoError("the campaign stopped; what it said stands above")


@contextmanager
def _meter(plan: Demo) -> Iterator[None]:
    port, truth = plan.path("meter"), plan.path("truth.json")
    truth.unlink(missing_ok=True)
    plan.path("runner.pid").unlink(missing_ok=True)
    channels = [f"0=cpu:@{plan.path('runner.pid')}", "1=const:5", "2=steps:3.5x5,11x5", "3=sine:7,2,10"]
    options = [option for channel in channels for option in ("--channel", channel)]
    with service(plan, "sim", "epi", "sim", *options, "--port-link", port, "--truth", truth, "--json") as ready:
        ready(lambda line: '"ready"' in line)
        yield


@contextmanager
def _daemon(plan: Demo) -> Iterator[str]:
    endpoint = f"tcp://127.0.0.1:{_free_port()}"
    options = ["--port", plan.path("meter"), "--listen", endpoint, "--runs", plan.path("runs"), "--channel", f"{NODE}=0"]
    with service(plan, "epid", "epid", "serve", *options) as ready:
        click.echo(ready(lambda line: " meter " in line))
        yield endpoint


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
