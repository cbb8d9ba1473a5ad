"""`epi-surgery export`."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from epi_surgery.engine import check_engine
from epi_surgery.gguf_file import GgufFile
from epi_surgery.output import check_target
from epi_surgery.progress import bar
from epi_surgery.quantise import MIXES, Export
from epi_surgery.quantise import export as quantise
from epi_surgery.table import Row, aligned


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--quantize", "mix", type=click.Choice(list(MIXES)), required=True, help="The mix of types to store.")
@click.option("--allow-requantize", is_flag=True, help="Accept a model that is quantised already.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The model to write.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of a summary.")
def export(model: Path, mix: str, allow_requantize: bool, out: Path, force: bool, as_object: bool) -> None:
    """Quantise MODEL through llama.cpp and list the tensors that fell back to another type.

    \b
    Example: epi-surgery export cut-f16.gguf --quantize Q4_K_M --out cut-q4.gguf
    """
    check_target(out, force, model)
    check_engine()
    with GgufFile(model) as opened:
        result = quantise(opened, mix, out, allow_requantize, bar)
        n_bytes = opened.n_bytes
    click.echo(json.dumps(asdict(result) | {"path": str(out)}, indent=2) if as_object else _summary(result, n_bytes))


def _summary(result: Export, n_bytes_before: int) -> str:
    rows: list[Row] = [
        ("exported model", str(result.path)),
        ("quantised to", result.mix),
        ("size", f"{n_bytes_before:,} -> {result.n_bytes:,} bytes"),
        ("sha256", result.sha256),
    ]
    alike = Counter((fall.name.split(".")[-2], fall.row_length, fall.type) for fall in result.fallbacks)
    rows += [("fell back", f"{count} x {kind} (rows of {length}) -> {now}") for (kind, length, now), count in alike.items()]
    return aligned(rows if alike else [*rows, ("fell back", "none")])
