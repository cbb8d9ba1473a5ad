"""`epi sim-run`: options, complaints in one sentence, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from epi_tools.simrun.described import described
from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.expected import arms_of
from epi_tools.simrun.experiment import Order, Written, interleaved, simulate
from epi_tools.simrun.ledger import TruthLedger
from epi_tools.simrun.recorded import Recorded, read_recorded
from epi_tools.simrun.truth import BASE_ARM, Truth, read_truths
from epid.errors import EpidError

EXAMPLE = """\b
Examples: one run; an experiment of three repeats of every arm in the file; watts laid under spans of a real inference:
  epi sim-run --truth truth.toml --seed 7 --out run.mcap
  epi sim-run --truth truth.toml --seed 7 --arms all --repeats 3 --out runs/
  epi sim-run --truth truth.toml --seed 7 --spans smollm2.events --out run.mcap
  epi sim-run --describe smollm2.events > truth.toml
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to be simulated, and where it goes: `paths` has one entry per order."""

    orders: tuple[Order, ...]
    paths: tuple[Path, ...]
    seed: int
    utc: str
    recorded: Mapping[str, Recorded]


class Complaint(click.ClickException):
    """Bad input: one sentence, exit code 2."""

    exit_code = 2


def _describe(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    """Print a recorded inference as TOML, and stop before anything is simulated."""
    if path is None:
        return
    try:
        click.echo(described(read_recorded(path), path.name), nl=False)
    except TruthError as error:
        raise Complaint(str(error)) from error
    context.exit()


@click.command(name="sim-run", epilog=EXAMPLE)
@click.option("--truth", "truths", multiple=True, required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="What is hidden, as TOML; several files are several arms, named after their files.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides every draw.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run file; with --arms or --repeats a folder.")
@click.option("--arms", default="", metavar="NAMES|all", help="Arms to simulate, with commas between them.")
@click.option("--repeats", type=click.IntRange(1), help="Runs of every arm, in ABBA order.")
@click.option("--spans", "span_files", multiple=True, metavar="[ARM=]FILE", help="Take the spans from a hookrun event file.")
@click.option("--describe", type=click.Path(path_type=Path, dir_okay=False), is_eager=True, expose_value=False,
              callback=_describe, help="Print the timing of a hookrun event file as TOML for a truth, and stop.")  # fmt: skip
@click.option("--utc", default="", help="Date and time that the runs shall bear; default: now.")
@click.option("--force", is_flag=True, help="Replace run files that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the files written.")
def sim_run(
    truths: tuple[Path, ...],
    seed: int,
    out: Path,
    arms: str,
    repeats: int | None,
    span_files: tuple[str, ...],
    utc: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write run files whose truth is known: the real firmware on chip models, faster than real time.

    Each run file is what the daemon would have written; it says that it is simulated. `truth.json` beside it holds what truly
    happened, so that `epid report --json` can be held against it.
    """
    try:
        recorded = dict(_spans(text) for text in span_files)
        found = [_fitted(truth, recorded) for truth in _all_arms(truths)]
        chosen = _chosen(found, arms)
        many = bool(arms) or repeats is not None or len(chosen) > 1
        orders = interleaved(chosen, repeats or 1)
        paths = [_run_path(out, order) for order in orders] if many else [out]
        plan = Plan(tuple(orders), tuple(paths), seed, utc or datetime.now(UTC).isoformat(timespec="seconds"), recorded)
        _prepare(plan.paths, force)
        _say(_write_all(plan), as_json)
    except (TruthError, EpidError) as error:
        raise Complaint(str(error)) from error
    except OSError as error:
        raise Complaint(f"Cannot write {error.filename or out}: {error.strerror}.") from error


def _all_arms(paths: Sequence[Path]) -> list[Truth]:
    if len(paths) == 1:
        return read_truths(paths[0])
    arms = [replace(read_truths(path)[0], arm=path.stem) for path in paths]
    if len({arm.arm for arm in arms}) < len(arms):
        raise TruthError("Two truths have files of the same name, which names their arms: rename one.")
    return arms


def _chosen(found: Sequence[Truth], arms: str) -> list[Truth]:
    if arms == "all" or (not arms and BASE_ARM not in {truth.arm for truth in found}):
        return list(found)
    by_name = {truth.arm: truth for truth in found}
    names = [name.strip() for name in arms.split(",")] if arms else [BASE_ARM]
    unknown = next((name for name in names if name not in by_name), None)
    if unknown is not None:
        raise TruthError(f"There is no arm '{unknown}' in the truth; its arms are {', '.join(by_name)}.")
    return [by_name[name] for name in names]


def _spans(text: str) -> tuple[str, Recorded]:
    arm, equals, file = text.partition("=")
    return (arm, read_recorded(Path(file))) if equals else ("", read_recorded(Path(text)))


def _recorded_for(truth: Truth, recorded: Mapping[str, Recorded]) -> Recorded | None:
    return recorded.get(truth.arm, recorded.get(""))


def _fitted(truth: Truth, recorded: Mapping[str, Recorded]) -> Truth:
    found = _recorded_for(truth, recorded)
    return truth if found is None else found.fitted(truth)


def _run_path(folder: Path, order: Order) -> Path:
    return folder / f"{order.place + 1:03d}-{order.truth.arm}-{order.repeat + 1}.mcap"


def _prepare(paths: Sequence[Path], force: bool) -> None:
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not force:
        raise TruthError(f"{taken} is there already: give another --out, or --force to replace it.")
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)


def _write_all(plan: Plan) -> list[Written]:
    written = []
    ledger = TruthLedger(plan.paths[0].parent / "truth.json")
    truths = list({order.truth.arm: order.truth for order in plan.orders}.values())
    ledger.add_arms(arms_of(truths, plan.seed, [_recorded_for(truth, plan.recorded) for truth in truths]))
    with _progress(len(plan.orders)) as advance:
        for at, (order, path) in enumerate(zip(plan.orders, plan.paths, strict=True)):
            recorded = _recorded_for(order.truth, plan.recorded)
            written.append(simulate(order, plan.seed, path, plan.utc, recorded, lambda share, at=at: advance(at + share)))  # type: ignore[misc]
            ledger.add(written[-1])
    return written


@contextmanager
def _progress(runs: int) -> Iterator:  # type: ignore[type-arg]
    """A bar on a terminal, nothing elsewhere; what it yields takes the number of runs done, in fractions."""
    with click.progressbar(length=runs * 100, label="simulating", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        yield lambda done: bar.update(max(0, round(done * 100) - bar.pos))


def _say(written: Sequence[Written], as_json: bool) -> None:
    if as_json:
        files = [{"run": str(one.run), "label": one.truth["label"]} for one in written]
        click.echo(json.dumps({"simulated": True, "runs": files, "truth": str(written[0].run.parent / "truth.json")}))
        return
    for one in written:
        decode = one.truth["decode"]
        click.echo(f"{one.run}   true (simulated): {decode['j_per_token']:.4f} J/token over {decode['tokens']} tokens")
