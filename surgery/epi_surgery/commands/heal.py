"""`epi-surgery heal`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epi_surgery.hashing import default_cache
from epi_surgery.output import check_folder, check_target
from epi_surgery.progress import bar
from epi_surgery.table import aligned

if TYPE_CHECKING:
    from epi_surgery.heal.task import Healed


@click.command()
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("cut", type=click.Path(path_type=Path))
@click.option("--text", "texts", type=click.Path(path_type=Path), multiple=True, help="UTF-8 text; may be repeated.")
@click.option("--tokens", type=click.IntRange(2), default=10_240, show_default=True, help="A fifth of them only judges.")
@click.option("--window", type=click.IntRange(2), default=256, show_default=True, help="Tokens that are seen together.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which windows are drawn.")
@click.option("--strength", type=float, default=0.01, show_default=True, help="Pull towards the weights as they are.")
@click.option("--feed-forward", is_flag=True, help="Re-solve the feed-forward's down projections too.")
@click.option(
    "--distil", type=click.IntRange(0), default=0, metavar="STEPS", help="Then train towards ORIGINAL, a fresh window each step."
)
@click.option("--rate", type=float, default=1e-4, show_default=True, help="Adam's learning rate in these steps; it falls to 0.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Of these steps.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="What to write, of the kind that CUT is.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of text.")
def heal(original: Path, cut: Path, out: Path, force: bool, as_object: bool, **options: Any) -> None:
    """Re-solve the output projections of CUT, a GGUF or folder cut from ORIGINAL, so that it does what ORIGINAL did.

    Closed form, layer by layer; training only with --distil. ORIGINAL healed by itself would not change: what is gained is
    not learnt from the text. Without --text the model writes its own. Nothing is written unless perplexity on windows that
    healing did not see has fallen.

    \b
    Example: epi-surgery heal model.gguf cut.gguf --text book.txt --out healed.gguf
    """
    from epi_surgery.heal.closed_form import Healing
    from epi_surgery.heal.distil import Distillation
    from epi_surgery.heal.task import Treatment, heal_model
    from epi_surgery.rank.calibration import Wanted

    for source in (original, cut):
        (check_folder if cut.is_dir() else check_target)(out, force, source)
    wanted = Wanted(options["texts"], options["tokens"], options["window"], options["seed"])
    distillation = Distillation(options["distil"], options["rate"], options["dtype"])
    treatment = Treatment(Healing(options["strength"], options["feed_forward"]), distillation)
    found = heal_model(original, cut, wanted, treatment, out, default_cache(), bar)
    click.echo(json.dumps(asdict(found) | {"path": str(out)}, indent=2) if as_object else summary(found))


def summary(found: "Healed") -> str:
    """The healing in a few lines."""
    ratio = found.healed / found.original
    more = f" {found.distilled_on:,} to distil," if found.distilled_on else ""
    return aligned(
        [
            ("tokens", f"{found.tokens:,} to heal,{more} {found.judged_on:,} others to judge by"),
            ("perplexity", f"{found.original:.2f} uncut, {found.cut:.2f} cut, {found.healed:.2f} healed ({ratio:.3f} of uncut)"),
            ("weights", f"{len(found.changed)} re-solved"),
            ("type changed", ", ".join(found.requantised) or "none"),
            ("healed model", str(found.path)),
        ]
    )
