"""`epi-surgery probe`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from epi_surgery.engine import check_engine
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import default_cache
from epi_surgery.output import check_target
from epi_surgery.probe import Probe
from epi_surgery.progress import bar
from epi_surgery.table import aligned
from epi_surgery.write_probe import write_probe


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--layer", type=int, required=True, help="The layer to repeat, from 0.")
@click.option("--repeat", type=int, required=True, help="How many times it stands in the probe model.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The probe model to write.")
@click.option("--check/--no-check", default=True, help="Load and run the probe model in llama.cpp first.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of a summary.")
def probe(model: Path, layer: int, repeat: int, out: Path, check: bool, force: bool, as_object: bool) -> None:
    """Write MODEL with one layer standing several times, to weigh that layer alone.

    \b
    Example: epi-surgery probe model.gguf --layer 7 --repeat 3 --out probe.gguf
    """
    check_target(out, force, model)
    if check:
        check_engine()
    with GgufFile(model) as opened:
        result = write_probe(opened, Probe(layer, repeat), out, check, default_cache(), bar)
    if as_object:
        click.echo(json.dumps(asdict(result) | {"path": str(out)}, indent=2))
        return
    click.echo(
        aligned(
            [
                ("probe model", str(out)),
                ("layers", f"{result.n_layer}, layer {layer} standing {repeat} times"),
                ("size", f"{result.n_bytes:,} bytes, {result.layer_bytes:,} of them in each copy"),
                ("sha256", result.sha256),
                ("ran", "yes, 20 prompt tokens and 8 greedy steps" if check else "not tried (--no-check)"),
            ]
        )
    )
