"""`epi-surgery export`."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from epi_surgery.dllama.export import DllamaExport, export_dllama
from epi_surgery.engine import check_engine
from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.output import check_target
from epi_surgery.progress import bar
from epi_surgery.quantise import MIXES, Export
from epi_surgery.quantise import export as quantise
from epi_surgery.table import Row, aligned


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--quantize", "mix", type=click.Choice(list(MIXES)), help="A GGUF with this mix of types, by llama.cpp's quantiser."
)
@click.option("--allow-requantize", is_flag=True, help="Accept a model that is quantised already.")
@click.option("--dllama", "weights", type=click.Choice(["f32", "q40"]), help="A distributed-llama .m, and a .t beside it.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Machines that share the .m's heads.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The model to write.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of a summary.")
def export(
    model: Path,
    mix: str | None,
    allow_requantize: bool,
    weights: str | None,
    nodes: int,
    out: Path,
    force: bool,
    as_object: bool,
) -> None:
    """Quantise MODEL through llama.cpp and list the tensors that fell back, or write it for distributed-llama.

    \b
    Example: epi-surgery export cut-f16.gguf --quantize Q4_K_M --out cut-q4.gguf
    Example: epi-surgery export cut-f16.gguf --dllama q40 --nodes 4 --out cut.m
    """
    if (mix is None) == (weights is None):
        raise SurgeryError("say what to export to: either --quantize MIX or --dllama f32|q40")
    check_target(out, force, model)
    if weights is not None:
        check_target(out.with_suffix(".t"), force, model)
    with GgufFile(model) as opened:
        if mix is not None:
            check_engine()
            made = quantise(opened, mix, out, allow_requantize, bar)
            text, body = _summary(made, opened.n_bytes), asdict(made)
        else:
            written = export_dllama(opened, weights or "f32", nodes, out, bar)
            text, body = _dllama_summary(written), asdict(written)
    click.echo(json.dumps(body, indent=2, default=str) if as_object else text)


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


def _dllama_summary(result: DllamaExport) -> str:
    return aligned(
        [
            ("exported model", str(result.path)),
            ("tokenizer", str(result.tokenizer)),
            ("heads", f"{result.n_head} query and {result.n_kv} KV heads in every layer, for {result.nodes} nodes"),
            ("filled up with", result.added or "nothing"),
            ("size", f"{result.n_bytes:,} bytes"),
            ("sha256", result.sha256),
        ]
    )
