"""`epi-surgery refine`."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epi_surgery.commands.offloading import offload_of, offload_options
from epi_surgery.hashing import default_cache
from epi_surgery.output import check_target
from epi_surgery.plan_file import read_plan, write_plan
from epi_surgery.progress import bar
from epi_surgery.table import aligned

if TYPE_CHECKING:
    from epi_surgery.refine.task import Outcome


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--text", "texts", type=click.Path(path_type=Path), multiple=True, help="UTF-8 text; may be repeated.")
@click.option("--tokens", type=click.IntRange(2), default=5120, show_default=True, help="A fifth of them only judges.")
@click.option("--window", type=click.IntRange(2), default=256, show_default=True, help="Tokens that are seen together.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which windows are drawn.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds of exchanges, at most.")
@click.option("--candidates", type=click.IntRange(2), default=16, show_default=True, help="Heads tried in a round, to leave.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Arithmetic.")
@offload_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The plan to write.")
@click.option("--force", is_flag=True, help="Replace an existing plan.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of text.")
def refine(model: Path, plan: Path, out: Path, force: bool, as_object: bool, **options: Any) -> None:
    """Exchange heads that PLAN removes from MODEL for others while that lowers the loss on a text.

    Layout and number of heads stay as they are. Heads at the border between leaving and staying are tried one by one in the
    company of the cut, and the pairs that gain most are exchanged if the loss then really falls. Without --text the model
    writes its own.

    \b
    Example: epi-surgery refine model.gguf plan.json --text book.txt --out better.json
    """
    from epi_surgery.rank.calibration import Wanted
    from epi_surgery.refine.exchange import Effort
    from epi_surgery.refine.task import Task, refine_plan

    check_target(out, force)
    task = Task(
        Wanted(options["texts"], options["tokens"], options["window"], options["seed"]),
        Effort(options["rounds"], options["candidates"]),
        options["dtype"],
        offload_of(options),
    )
    found = refine_plan(model, read_plan(plan), task, default_cache(), bar)
    write_plan(out, found.plan)
    click.echo(json.dumps(record(found, out), indent=2) if as_object else summary(found, out))


def record(found: "Outcome", out: Path) -> dict[str, Any]:
    """The outcome for machines; the plan itself is in its file."""
    return {
        "path": str(out),
        "tokens": found.tokens,
        "loss_before": found.search.before,
        "rounds": [asdict(one) for one in found.search.rounds],
        "judged_on": found.judged_on,
        "uncut": found.uncut,
        "planned": found.planned,
        "refined": found.refined,
    }


def summary(found: "Outcome", out: Path) -> str:
    """The outcome in a few lines."""
    uncut, planned, refined = (math.exp(loss) for loss in (found.uncut, found.planned, found.refined))
    deciding = math.exp(found.search.rounds[-1].loss - found.search.before)
    return aligned(
        [
            ("exchanged", " + ".join(str(one.n_exchanged) for one in found.search.rounds) + " pairs, round by round"),
            ("perplexity", f"{deciding:.3f} times the plan's on the {found.tokens:,} tokens that decided"),
            (f"{found.judged_on:,} others", f"{uncut:.2f} uncut, {planned:.2f} as planned, {refined:.2f} refined"),
            ("plan", str(out)),
        ]
    )
