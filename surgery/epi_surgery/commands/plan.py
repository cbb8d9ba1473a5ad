"""`epi-surgery plan`."""

from pathlib import Path

import click

from epi_surgery.choose import LAYOUTS, TARGETS, Aim
from epi_surgery.cost import PerToken
from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import default_cache
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.output import check_target
from epi_surgery.plan import Plan
from epi_surgery.plan_file import plan_json, write_plan
from epi_surgery.progress import bar
from epi_surgery.scores import CRITERIA
from epi_surgery.shares import Count
from epi_surgery.table import aligned, percent, ranges


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--fraction", type=float, required=True, help="Share of the targeted layers' query heads to remove, 0 to 1.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="groups",
    show_default=True,
    help="Whole KV groups, or equally many per group.",
)
@click.option("--uniform", is_flag=True, help="The same counts in every layer: the model keeps its architecture.")
@click.option(
    "--criterion", type=click.Choice(CRITERIA), default="l2", show_default=True, help="What ranks the heads; the lowest leave."
)
@click.option("--relative", is_flag=True, help="Compare each norm with the mean of its layer first.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the criterion 'random'.")
@click.option(
    "--target", type=click.Choice(TARGETS), default="all", show_default=True, help="All layers, the first or the last quarter."
)
@click.option("--protect-layers", "protected", default="", metavar="0,1", help="Layers that lose nothing, separated by commas.")
@click.option("--context", type=click.IntRange(0), default=512, show_default=True, help="Tokens in the cache, for the ceilings.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The plan to write.")
@click.option("--force", is_flag=True, help="Replace an existing plan.")
@click.option("--json", "as_object", is_flag=True, help="Print the plan itself instead of a summary.")
def plan(
    model: Path,
    fraction: float,
    layout: str,
    uniform: bool,
    criterion: str,
    relative: bool,
    seed: int,
    target: str,
    protected: str,
    context: int,
    out: Path,
    force: bool,
    as_object: bool,
) -> None:
    """Choose which heads of MODEL to remove and write that down.

    \b
    Example: epi-surgery plan model.gguf --fraction 0.33 --layout groups --uniform --out plan.json
    """
    check_target(out, force)
    aim = Aim(fraction, layout, uniform, target, layer_list(protected))
    with GgufFile(model) as opened:
        ranked = rank(opened, Ranking(criterion, per_layer=relative, seed=seed), default_cache(), bar)
        made = make_plan(ranked, aim, context)
    write_plan(out, made)
    click.echo(plan_json(made) if as_object else summary(made, out))


def summary(made: Plan, out: Path) -> str:
    """The plan in a few lines."""
    shares = made.shares
    cut_layers = [layer for layer, heads in enumerate(made.layers) if len(heads.query) < made.architecture.n_head[layer]]
    return aligned(
        [
            ("model", made.model.name),
            ("layout", f"{made.aim.layout}{', uniform' if made.aim.uniform else ''}, by {made.criterion}"),
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
    return f"-{percent(costs.read_bytes.removed_share)} bytes, -{percent(costs.flops.removed_share)} FLOPs per token"


def _removed(count: Count) -> str:
    if count.before == count.after:
        return f"{count.before:,}  (all stay)"
    return f"{count.before:,} -> {count.after:,}  (-{percent(count.removed_share)})"


def layer_list(text: str) -> tuple[int, ...]:
    """The layers named in `0,1`."""
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise SurgeryError(f"--protect-layers takes layer numbers separated by commas, not '{text}'") from None
