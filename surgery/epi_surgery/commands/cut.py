"""`epi-surgery cut`."""

from dataclasses import asdict
from pathlib import Path

import click

from epi_surgery.engine import check_engine
from epi_surgery.execute import CutResult, execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import default_cache
from epi_surgery.output import check_target
from epi_surgery.plan_file import read_plan
from epi_surgery.progress import bar
from epi_surgery.show import as_json
from epi_surgery.table import aligned


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The cut model to write.")
@click.option("--prove/--no-prove", "with_proof", default=True, help="Run the cut and its masked twin through llama.cpp first.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of a summary.")
def cut(model: Path, plan: Path, out: Path, with_proof: bool, force: bool, as_object: bool) -> None:
    """Cut MODEL by PLAN and prove that the result computes what the masked original does.

    \b
    Example: epi-surgery cut model.gguf plan.json --out cut.gguf
    """
    check_target(out, force, model)
    wanted = read_plan(plan)
    if with_proof:
        check_engine()
    with GgufFile(model) as opened:
        result = execute(opened, wanted, out, with_proof, default_cache(), bar)
        click.echo(as_json(asdict(result) | {"path": str(out)}) if as_object else _summary(result, opened.n_bytes))


def _summary(result: CutResult, n_bytes_before: int) -> str:
    rows = [
        ("cut model", str(result.path)),
        ("architecture", result.architecture),
        ("size", f"{n_bytes_before:,} -> {result.n_bytes:,} bytes"),
        ("sha256", result.sha256),
    ]
    rows += [("requantised", f"{changed.name}: {changed.was} -> {changed.now}") for changed in result.requantised]
    if result.proof is None:
        return aligned([*rows, ("proof", "skipped (--no-prove)")])
    proof = result.proof
    seen = f"{proof.n_prompt} prompt tokens and {proof.n_decode} greedy steps"
    rows += [
        ("proof", f"max |difference| of logits to the masked original {proof.max_abs_delta:g} over {seen}"),
        ("control", f"max |difference| to the unmasked original {proof.control_max_abs_delta:.3g}"),
    ]
    return aligned(rows)
