"""`epi-surgery matrix`."""

import json
from pathlib import Path
from typing import Any

import click

from epi_surgery.aim import Aim
from epi_surgery.commands.choosing import choosing_options, deployment, layer_list, ranked_heads
from epi_surgery.errors import SurgeryError
from epi_surgery.matrix import Configuration, configurations
from epi_surgery.open_model import open_model
from epi_surgery.output import write_text
from epi_surgery.plan_file import plan_json
from epi_surgery.table import percent

INDEX = "matrix.json"


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@choosing_options(layout="auto", spread="layer")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder for the plans.")
@click.option("--json", "as_object", is_flag=True, help="Print the index instead of a table.")
def matrix(model: Path, out: Path, as_object: bool, **choices: Any) -> None:
    """Write the plans of the 25 configurations: 8 depths x 3 targets and the baseline.

    \b
    Example: epi-surgery matrix model.gguf --scores scores.json --out plans
    """
    if out.exists():
        raise SurgeryError(f"{out}: already exists; give the name of a new folder")
    if not out.parent.is_dir():
        raise SurgeryError(f"{out.parent}: no such folder; create it first")
    # Depth and target are set for each cell.
    aim = Aim(0.5, choices["layout"], choices["spread"], "all", layer_list(choices["protected"]), choices["attention_free"])
    with open_model(model) as opened:
        ranked = ranked_heads(opened, choices)
        cells = list(configurations(ranked, aim, choices["context"], deployment(choices)))
    index = {"format": "epi-surgery matrix", "version": 1, "model": ranked.identity.name, "sha256": ranked.identity.sha256}
    text = json.dumps(index | {"configurations": [_record(cell) for cell in cells]}, indent=2) + "\n"
    out.mkdir()
    for cell in cells:
        if cell.plan is not None:
            write_text(out / f"{cell.name}.json", plan_json(cell.plan))
    write_text(out / INDEX, text)
    click.echo(text.rstrip() if as_object else _table(cells))


def _record(cell: Configuration) -> dict[str, Any]:
    shares = None
    if cell.plan is not None:
        counts = {"query_heads": cell.plan.shares.query_heads, "read_bytes_per_token": cell.plan.per_token.read_bytes}
        shares = {name: round(count.removed_share, 6) for name, count in counts.items()}
    return {
        "name": cell.name,
        "nominal_percent": cell.percent,
        "target": cell.target,
        "plan": None if cell.plan is None else f"{cell.name}.json",
        "removed_share": shares,
        "same_as": cell.same_as,
        "refused": cell.refusal,
    }


def _table(cells: list[Configuration]) -> str:
    lines = [f"{'configuration':<14}{'nominal':>8}{'heads':>10}{'parameters':>12}{'bytes/token':>13}{'FLOPs/token':>13}"]
    for cell in cells:
        if cell.plan is None:
            lines.append(f"{cell.name:<14}{cell.percent:>6} %  {cell.refusal or 'the model as it is'}")
            continue
        plan, note = cell.plan, f"  = {cell.same_as}" if cell.same_as else ""
        shares = [plan.shares.query_heads, plan.shares.parameters, plan.per_token.read_bytes, plan.per_token.flops]
        columns = [percent(count.removed_share).rjust(width) for count, width in zip(shares, (10, 12, 13, 13), strict=True)]
        lines.append(f"{cell.name:<14}{cell.percent:>6} %{''.join(columns)}{note}")
    return "\n".join(lines)
