"""`epi campaign`: from a file with models and work to a report."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import click

from .errors import CampaignError
from .execute import execute, fingerprint, run_here
from .journal import Journal
from .order import Trial, schedule
from .settings import Campaign, read_campaign


@click.command(
    epilog="\b\nExample:\n  epi campaign smollm2.toml --dry-run\n  epi campaign smollm2.toml --out out/smollm2\n\n"
    "The file's keys are in `pydoc epi_tools.campaign.settings`."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for journal and report; default: out/NAME-OF-THE-FILE.",
)
@click.option("--dry-run", is_flag=True, help="Print the order of the runs and stop.")
@click.option("--report/--no-report", "with_report", default=True, show_default=True, help="Make the report at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def campaign(file: Path, folder: Path | None, dry_run: bool, with_report: bool, as_json: bool) -> None:
    """Run every model as often as planned, interleaved; interrupted, it goes on where it stopped."""
    plan = read_campaign(file)
    trials = schedule(list(plan.arms), plan.repeats, plan.design, plan.seed)
    if dry_run:
        click.echo(_order_json(trials) if as_json else _order_text(plan, trials))
        return
    folder = folder or Path("out") / file.stem
    journal = Journal(folder / "journal.jsonl", fingerprint(plan))
    _run_all(plan, trials, journal)
    report = _report(plan, journal, folder) if with_report else None
    if as_json:
        runs = [{"block": done.block, "arm": done.arm, "run": done.run, "seconds": done.seconds} for done in journal.done]
        click.echo(json.dumps({"name": plan.name, "runs": runs, "report": str(report) if report else None}))


def _run_all(plan: Campaign, trials: tuple[Trial, ...], journal: Journal) -> None:
    left = journal.left(trials)
    if len(left) < len(trials):
        click.echo(f"{len(trials) - len(left)} of {len(trials)} runs stand in {journal.path}", err=True)
    spent_s: list[float] = []
    for count, done in enumerate(execute(plan, left, journal), len(trials) - len(left) + 1):
        spent_s.append(done.seconds)
        minutes = median(spent_s) * (len(trials) - count) / 60
        click.echo(f"run {count} of {len(trials)}: {done.arm}, {done.seconds:.0f} s; {minutes:.0f} min to go", err=True)


def _report(plan: Campaign, journal: Journal, folder: Path) -> Path | None:
    """The report over all runs, the baseline's first."""
    arms = list(plan.arms)
    done = sorted(journal.done, key=lambda each: (arms.index(each.arm), each.block))
    elsewhere = next((each.run for each in done if not Path(each.run).is_file()), None)
    if elsewhere is not None:
        click.echo(f"no report: {elsewhere} is not on this machine; run `epid report` where the daemon keeps its runs", err=True)
        return None
    page = folder / "report.html"
    made = run_here(["epid", "report", *(each.run for each in done), "--html", str(page)])
    if made.returncode:
        raise CampaignError(f"`epid report` ended with exit code {made.returncode}; the runs are listed in {journal.path}")
    click.echo(made.stdout, nl=False, err=True)
    return page


def _order_text(plan: Campaign, trials: tuple[Trial, ...]) -> str:
    lines = [f"{plan.name}: {len(trials)} runs, {plan.repeats} of each arm"]
    for block in range(plan.repeats):
        lines.append(f"  block {block + 1}: {', '.join(trial.arm for trial in trials if trial.block == block)}")
    return "\n".join(lines)


def _order_json(trials: tuple[Trial, ...]) -> str:
    return json.dumps([{"block": trial.block, "arm": trial.arm} for trial in trials])
