"""`epi-surgery cut`."""

from dataclasses import asdict
from pathlib import Path

import click

from epi_surgery.engine import check_engine
from epi_surgery.execute import CutResult, execute
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import default_cache
from epi_surgery.open_model import open_model
from epi_surgery.output import check_folder, check_target
from epi_surgery.plan import Plan
from epi_surgery.plan_file import read_plan
from epi_surgery.progress import bar
from epi_surgery.prove import Proof
from epi_surgery.show import as_json
from epi_surgery.table import Row, aligned


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The cut model to write: a GGUF, or for PyTorch a folder."
)
@click.option("--prove/--no-prove", "with_proof", default=True, help="Run the cut and its masked twin on the engine first.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="bfloat16",
    show_default=True,
    help="Of a folder cut from a GGUF.",
)
@click.option("--sha256", "with_hash", is_flag=True, help="Also hash the cut GGUF while it is written: half as fast.")
@click.option("--force", is_flag=True, help="Replace what stands at --out.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of a summary.")
def cut(model: Path, plan: Path, out: Path, with_proof: bool, with_hash: bool, dtype: str, force: bool, as_object: bool) -> None:
    """Cut MODEL by PLAN and prove that the result computes what the masked original does.

    \b
    Example: epi-surgery cut model.gguf plan.json --out cut.gguf
    """
    wanted = read_plan(plan)
    if wanted.engine == "torch":
        check_folder(out, force, model)
        click.echo(_cut_in_torch(model, wanted, out, dtype, with_proof, as_object))
        return
    check_target(out, force, model)
    if with_proof:
        check_engine()
    with GgufFile(model) as opened:
        result = execute(opened, wanted, out, with_proof, default_cache(), bar, with_hash)
        click.echo(as_json(asdict(result) | {"path": str(out)}) if as_object else _summary(result, opened.n_bytes))


def _cut_in_torch(model: Path, plan: Plan, out: Path, dtype: str, with_proof: bool, as_object: bool) -> str:
    from epi_surgery.torch_cut.execute import execute as execute_in_torch

    with open_model(model) as opened:
        result = execute_in_torch(opened, plan, out, dtype, with_proof, default_cache(), bar)
    if as_object:
        return as_json(asdict(result) | {"path": str(out)})
    return aligned([("cut model", str(out)), ("size", f"{result.n_bytes:,} bytes"), *_proof_rows(result.proof)])


def _summary(result: CutResult, n_bytes_before: int) -> str:
    rows = [
        ("cut model", str(result.path)),
        ("architecture", result.architecture),
        ("size", f"{n_bytes_before:,} -> {result.n_bytes:,} bytes"),
    ]
    rows += [("sha256", result.sha256)] if result.sha256 else []
    rows += [("requantised", f"{changed.name}: {changed.was} -> {changed.now}") for changed in result.requantised]
    return aligned([*rows, *_proof_rows(result.proof)])


def _proof_rows(proof: Proof | None) -> list[Row]:
    if proof is None:
        return [("proof", "skipped (--no-prove)")]
    seen = f"{proof.n_prompt} prompt tokens and {proof.n_decode} greedy steps"
    return [
        ("proof", f"max |difference| of logits to the masked original {proof.max_abs_delta:g} over {seen}"),
        ("control", f"max |difference| to the unmasked original {proof.control_max_abs_delta:.3g}"),
    ]
