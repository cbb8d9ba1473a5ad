"""`epi-surgery show`."""

from pathlib import Path

import click

from epi_surgery.architecture import architecture_of
from epi_surgery.gguf_file import GgufFile
from epi_surgery.show import as_json, facts, text


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of text.")
def show(model: Path, as_object: bool) -> None:
    """Print a model's numbers, its quantisation, and its heads drawn.

    \b
    Example: epi-surgery show model.gguf
    """
    with GgufFile(model) as opened:
        arch = architecture_of(opened)
        click.echo(as_json(facts(opened, arch)) if as_object else text(opened, arch))
