"""`epi-surgery rank`."""

import re
from pathlib import Path
from typing import Any

import click

from epi_surgery.commands.offloading import offload_of, offload_options
from epi_surgery.errors import SurgeryError
from epi_surgery.hashing import default_cache
from epi_surgery.output import check_target
from epi_surgery.progress import bar
from epi_surgery.rank import names
from epi_surgery.score_file import HeadScores, scores_json, write_scores
from epi_surgery.table import aligned


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--criterion", type=click.Choice(names.ALL), default="taylor", show_default=True, help="What ranks the heads.")
@click.option(
    "--text", "texts", type=click.Path(path_type=Path), multiple=True, help="UTF-8 text; repeat for equal parts of several."
)
@click.option("--tokens", type=click.IntRange(2), help="Calibration tokens in all.  [default: 1024; for l0 25,600]")
@click.option("--window", type=click.IntRange(2), help="Tokens that are seen together.  [default: 256; for l0 128]")
@click.option("--seed", type=int, default=0, show_default=True, help="Which windows are drawn; random scores; gates.")
@click.option("--protect", default="", metavar="0-1,29", help="Layers whose heads are to rank above all others.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="Arithmetic.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, help="Training steps of l0 and l0-groups.")
@click.option("--weight", type=float, default=0.01, show_default=True, help="What l0 pays per open head, in nats per token.")
@offload_options
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw a heat map, as PNG or SVG by the ending.")
@click.option("--mark", type=float, metavar="SHARE", help="In the figure: cross out this share of the heads, lowest first.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The score file to write.")
@click.option("--force", is_flag=True, help="Replace an existing score file.")
@click.option("--json", "as_object", is_flag=True, help="Print the scores themselves instead of a summary.")
def rank(model: Path, out: Path, force: bool, figure: Path | None, as_object: bool, **options: Any) -> None:
    """Rank the query heads of MODEL, a GGUF or a Hugging Face folder; the lowest score is the first to go.

    Without --text the model writes its own calibration text. An ablation that is interrupted goes on from its journal beside
    OUT when the same command is given again. The criteria attnlrp… use layer-wise relevance propagation, which is patented
    and free for personal and scientific use only.

    \b
    Example: epi-surgery rank model.gguf --criterion taylor --text book.txt --out scores.json
    """
    check_target(out, force)
    if figure is not None:
        _check_figure(figure, force)
    found = _ranked(model, out, options)
    write_scores(out, found)
    if figure is not None:
        _draw(figure, found, options["mark"])
    out.with_name(out.name + ".journal").unlink(missing_ok=True)
    click.echo(scores_json(found) if as_object else summary(found, out))


def summary(found: HeadScores, out: Path) -> str:
    """The ranking in a few lines."""
    heads = sorted((score, layer, head) for layer, row in enumerate(found.scores) for head, score in enumerate(row))
    provenance = found.provenance
    return aligned(
        [
            ("model", found.model.name),
            ("criterion", found.criterion),
            ("tokens", f"{provenance['tokens']:,}" if "tokens" in provenance else "none: weights only"),
            ("heads", f"{len(heads)} in {len(found.scores)} layers"),
            ("first to go", ", ".join(f"{layer}.{head}" for _, layer, head in heads[:6]) + "  (layer.head)"),
            ("last to go", ", ".join(f"{layer}.{head}" for _, layer, head in heads[:-4:-1])),
            ("scores", str(out)),
        ]
    )


def layer_ranges(text: str) -> tuple[int, ...]:
    """The layers named in `0-1,29`; raises SurgeryError for anything else."""
    layers: set[int] = set()
    for part in filter(None, (word.strip() for word in text.split(","))):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if found is None:
            raise SurgeryError(f"--protect takes layers and ranges separated by commas, such as 0-1,29, not '{text}'")
        first = int(found.group(1))
        layers.update(range(first, int(found.group(2) or first) + 1))
    return tuple(sorted(layers))


def _ranked(model: Path, out: Path, options: dict[str, Any]) -> HeadScores:
    from epi_surgery.rank.calibration import Wanted
    from epi_surgery.rank.l0 import Training
    from epi_surgery.rank.task import Task, rank_model

    seed, criterion = options["seed"], options["criterion"]
    # Gates are trained, a window a step: on few windows they learn these by heart.
    tokens, window = (25_600, 128) if criterion in names.GATES else (1024, 256)
    task = Task(
        criterion=criterion,
        calibration=Wanted(options["texts"], options["tokens"] or tokens, options["window"] or window, seed),
        training=Training(steps=options["steps"], weight=options["weight"], seed=seed),
        protected=layer_ranges(options["protect"]),
        dtype=options["dtype"],
        offload=offload_of(options),
        journal=out.with_name(out.name + ".journal") if criterion == "ablation" else None,
    )
    return rank_model(model, task, default_cache(), bar)


def _check_figure(figure: Path, force: bool) -> None:
    from epi_surgery.rank.heat_map import check_figure

    check_figure(figure)
    check_target(figure, force)


def _draw(figure: Path, found: HeadScores, share: float | None) -> None:
    from epi_surgery.rank.heat_map import draw_heat_map
    from epi_surgery.rank.order import lowest

    n_heads = sum(len(row) for row in found.scores)
    draw_heat_map(
        figure, found.scores, f"{found.model.name}: {found.criterion}", lowest(found.scores, round((share or 0) * n_heads))
    )
