"""`epi-surgery scores`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from epi_surgery.commands.rank import summary
from epi_surgery.errors import SurgeryError
from epi_surgery.output import check_target
from epi_surgery.plan import Plan
from epi_surgery.plan_file import read_plan
from epi_surgery.rank.order import flat, like, spearman
from epi_surgery.score_file import BadScores, HeadScores, check_scores_fit, read_scores, write_scores


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--plan", "plan_path", type=click.Path(path_type=Path), help="Mark the heads that this plan removes.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the one score file as a heat map, PNG or SVG.")
@click.option("--mean", type=click.Path(path_type=Path), help="Write the mean of the files: one criterion, several seeds.")
@click.option("--force", is_flag=True, help="Replace an existing figure or mean.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of text.")
def scores(
    files: tuple[Path, ...], plan_path: Path | None, figure: Path | None, mean: Path | None, force: bool, as_object: bool
) -> None:
    """Show one score file, or compare several of the same model by Spearman's rank correlation.

    Agreement with the ablation oracle does not make a criterion good: the oracle itself changes with the text. What counts
    is the loss after the cut.

    \b
    Example: epi-surgery scores taylor.json ablation.json
    Example: epi-surgery scores l0-0.json l0-1.json l0-2.json --mean l0.json
    """
    found = [read_scores(file) for file in files]
    _check_same_model(found)
    removed = _removed(found[0], plan_path) if plan_path is not None else ()
    if figure is not None:
        _draw(figure, found, removed, force)
    if mean is not None:
        check_target(mean, force)
        write_scores(mean, mean_of(found, files))
    if as_object:
        click.echo(json.dumps(comparison(found, files), indent=2))
    else:
        click.echo(summary(found[0], files[0]) if len(found) == 1 else table(found))


def comparison(found: Sequence[HeadScores], files: Sequence[Path]) -> dict[str, object]:
    """Criteria, their files, and the matrix of correlations (null where one side orders nothing)."""
    matrix = [[spearman(one.scores, other.scores) for other in found] for one in found]
    return {
        "model": found[0].model.name,
        "sha256": found[0].model.sha256,
        "criteria": [one.criterion for one in found],
        "files": [file.name for file in files],
        "spearman": [[None if value != value else round(value, 6) for value in row] for row in matrix],
    }


def mean_of(found: Sequence[HeadScores], files: Sequence[Path]) -> HeadScores:
    """Head by head the mean of one criterion's scores; raises BadScores where there are several criteria, or one file."""
    names = {one.criterion for one in found}
    if len(found) < 2 or len(names) > 1:
        what = "one file has no mean" if len(found) < 2 else f"{', '.join(sorted(names))} have no scale in common"
        raise BadScores(f"--mean takes two or more files of one criterion: {what}")
    values = like(np.mean([flat(one.scores) for one in found], axis=0), found[0].scores)
    origins = [{"file": file.name, **one.provenance} for file, one in zip(files, found, strict=True)]
    tokens = [one.provenance["tokens"] for one in found if "tokens" in one.provenance]
    provenance = {"mean_of": origins} | ({"tokens": sum(tokens)} if tokens else {})
    return HeadScores(found[0].model, found[0].criterion, values, provenance)


def table(found: Sequence[HeadScores]) -> str:
    """The correlations as text, columns numbered like rows."""
    width = max(len(one.criterion) for one in found)
    lines = [" " * (width + 4) + "".join(f"{number:>7}" for number in range(1, len(found) + 1))]
    for number, one in enumerate(found, 1):
        cells = "".join(f"{spearman(one.scores, other.scores):>7.2f}" for other in found)
        lines.append(f"{number:>2}  {one.criterion.ljust(width)}{cells}")
    return "\n".join(lines)


def _check_same_model(found: Sequence[HeadScores]) -> None:
    for other in found[1:]:
        check_scores_fit(other, found[0].model, [len(row) for row in found[0].scores])


def _removed(found: HeadScores, path: Path) -> tuple[tuple[int, ...], ...]:
    plan = read_plan(path)
    if plan.model.sha256 != found.model.sha256:
        raise BadScores(f"{path}: the plan is for '{plan.model.name}', the scores are of '{found.model.name}'")
    return removed_heads(plan)


def removed_heads(plan: Plan) -> tuple[tuple[int, ...], ...]:
    """The query heads of each layer that the plan takes out."""
    counts = plan.architecture.n_head
    return tuple(tuple(sorted(set(range(n)) - set(heads.query))) for n, heads in zip(counts, plan.layers, strict=True))


def _draw(figure: Path, found: Sequence[HeadScores], removed: tuple[tuple[int, ...], ...], force: bool) -> None:
    from epi_surgery.rank.heat_map import check_figure, draw_heat_map

    if len(found) != 1:
        raise SurgeryError(f"--figure draws one score file, not {len(found)}; name one")
    check_figure(figure)
    check_target(figure, force)
    draw_heat_map(figure, found[0].scores, f"{found[0].model.name}: {found[0].criterion}", removed)
