"""`epid report`: what a token, a layer and a cut cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..analysis.study.study import Study
    from .figure import Figure
    from .table import Table

_SHOWN = ("results", "savings", "phases", "trust")
"""Tables printed on the terminal; the others are long."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write one self-contained page here.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), help="Folder for every figure as PNG and SVG.")
@click.option("--tables", type=click.Path(path_type=Path, file_okay=False), help="Folder for every table as CSV and Parquet.")
@click.option("--channel", type=int, help="Meter channel that feeds the node, where the run does not say it.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Correct the meter's gains by a file of `epi calibrate --export`.",
)
@click.option("--accuracy", metavar="VALUE:N", help="Accuracy of the model over N questions, where none stands beside it.")
@click.option("--layers", is_flag=True, help="Print the tables of layers too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def report(
    paths: tuple[Path, ...],
    page: Path | None,
    figures: Path | None,
    tables: Path | None,
    channel: int | None,
    calibration: Path | None,
    accuracy: str | None,
    layers: bool,
    as_json: bool,
) -> None:
    """Say what a token cost in each run, and what a cut saved; runs of one model are repeats, the first model is the baseline.

    \b
    Example:
      epid report runs/*.mcap --html report.html
      epid report runs/*.mcap --json > report.json
      epid report runs/*.mcap --figures figures/ --tables tables/
    """
    study = _study(paths, channel, calibration, accuracy)
    if as_json:
        from .document import document

        click.echo(json.dumps(document(study), indent=1, allow_nan=False))
    if as_json and not (page or figures or tables):
        return
    made = _make(study)
    written = _write(study, made, page, figures, tables)
    if not as_json:
        _print(study, made[0], layers, written)


def _study(paths: Sequence[Path], channel: int | None, calibration: Path | None, accuracy: str | None) -> Study:
    from ..analysis.accuracy import parse_accuracy
    from ..analysis.metering.calibration import load_corrections
    from ..analysis.study.study import load_study

    corrections = load_corrections(calibration) if calibration else None
    given = parse_accuracy(accuracy) if accuracy else None
    with _progress("reading runs", len(paths)) as advance:
        return load_study(_told(paths, advance), channel, corrections, given)


def _told(paths: Sequence[Path], advance: Callable[[int], Any]) -> Iterator[Path]:
    """The paths one by one, the bar moving when the next is asked for."""
    for path in paths:
        yield path
        advance(1)


def _make(study: Study) -> tuple[list[Table], list[Figure]]:
    from .figures import figures_of
    from .tables import tables_of

    return tables_of(study), figures_of(study)


def _write(
    study: Study, made: tuple[list[Table], list[Figure]], page: Path | None, figures: Path | None, tables: Path | None
) -> list[str]:
    """Write what was asked for; return one line per thing written."""
    written = []
    if page is not None:
        from .page import write_page

        write_page(page, study, *made)
        written.append(f"page: {page}")
    if figures is not None:
        written.append(f"{_save_figures(made[1], figures)} figures: {figures}")
    if tables is not None:
        from .table_files import save_tables

        written.append(f"{len(save_tables(made[0], tables))} tables: {tables}")
    return written


def _save_figures(figures: Sequence[Figure], folder: Path) -> int:
    from ..errors import EpidError
    from .matplotlib_figure import save_figure

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _progress("drawing", len(figures)) as advance:
            for figure in figures:
                save_figure(figure, folder)
                advance(1)
    except OSError as error:
        raise EpidError(f"cannot write the figures in {folder}: {error.strerror or error}") from error
    return 2 * len(figures)


def _print(study: Study, tables: Sequence[Table], layers: bool, written: Sequence[str]) -> None:
    from .table import as_text
    from .verdict_text import verdict

    wanted = (*_SHOWN, "layers", "redistribution") if layers else _SHOWN
    blocks = ["\n".join(verdict(study)), *(as_text(table) for table in tables if table.name in wanted), *written]
    click.echo("\n\n".join(blocks))
    for run in study.summaries:
        for warning in run.warnings:
            click.echo(f"warning, {run.run.label}: {warning}", err=True)
    for problem in study.problems:
        click.echo(f"warning: {problem}", err=True)


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], Any]]:
    """A bar on a terminal, nothing elsewhere."""
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        yield bar.update
