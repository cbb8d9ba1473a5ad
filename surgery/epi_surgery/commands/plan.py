"""`epi-surgery plan`."""

from pathlib import Path
from typing import Any

import click

from epi_surgery.aim import Aim
from epi_surgery.commands.choosing import choosing_options, deployment, layer_list, ranked_heads
from epi_surgery.cost import PerToken
from epi_surgery.make_plan import make_plan
from epi_surgery.open_model import open_model
from epi_surgery.output import check_target
from epi_surgery.plan import Plan
from epi_surgery.plan_file import plan_json, write_plan
from epi_surgery.shares import Count
from epi_surgery.table import aligned, percent, ranges


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--fraction", type=float, required=True, help="Share of the targeted layers' query heads to remove, 0 to 1.")
@choosing_options(layout="groups", spread="global")
@click.option("--uniform", "spread", flag_value="uniform", help="Short for --spread uniform.")
@click.option(
    "--target",
    type=click.Choice(["all", "early", "late"]),
    default="all",
    show_default=True,
    help="All layers, the first or the last quarter.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The plan to write.")
@click.option("--force", is_flag=True, help="Replace an existing plan.")
@click.option("--json", "as_object", is_flag=True, help="Print the plan itself instead of a summary.")
def plan(model: Path, fraction: float, target: str, out: Path, force: bool, as_object: bool, **choices: Any) -> None:
    """Choose which heads of MODEL to remove and write that down.

    \b
    Example: epi-surgery plan model.gguf --fraction 0.33 --layout auto --scores scores.json --out plan.json
    """
    check_target(out, force)
    protected = layer_list(choices["protected"])
    aim = Aim(fraction, choices["layout"], choices["spread"], target, protected, choices["attention_free"])
    with open_model(model) as opened:
        made = make_plan(ranked_heads(opened, choices), aim, choices["context"], deployment(choices))
    write_plan(out, made)
    click.echo(plan_json(made) if as_object else summary(made, out))


def summary(made: Plan, out: Path) -> str:
    """The plan in a few lines."""
    shares = made.shares
    cut_layers = [layer for layer, heads in enumerate(made.layers) if len(heads.query) < made.architecture.n_head[layer]]
    spread = "" if made.aim.spread == "global" else f", {made.aim.spread}"
    return aligned(
        [
            ("model", made.model.name),
            ("layout", f"{made.aim.layout}{spread}, by {made.criterion}"),
            ("engine", made.engine if made.nodes == 1 else f"{made.engine} on {made.nodes} nodes"),
            ("layers cut", f"{ranges(cut_layers)} of {made.architecture.n_layer}"),
            ("query heads", _removed(shares.query_heads) + f"  (asked for {percent(made.aim.fraction)})"),
            ("KV heads", _removed(shares.kv_heads)),
            ("parameters", _removed(shares.parameters)),
            ("tensor bytes", _removed(shares.tensor_bytes)),
            (f"ceiling at context {made.per_token.context}", ceiling(made.per_token)),
            ("plan", str(out)),
        ]
    )


def ceiling(costs: PerToken) -> str:
    """The most a token can get cheaper by arithmetic; what it really saves has to be measured."""
    return f"{_change(costs.read_bytes)} bytes, {_change(costs.flops)} FLOPs per token"


def _removed(count: Count) -> str:
    if count.before == count.after:
        return f"{count.before:,}  (all stay)"
    return f"{count.before:,} -> {count.after:,}  ({_change(count)})"


def _change(count: Count) -> str:
    return f"{'-' if count.removed_share >= 0 else '+'}{percent(abs(count.removed_share))}"
