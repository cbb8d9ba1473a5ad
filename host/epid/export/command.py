"""`epid export`: runs for other tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .recorded import Recorded

_RUNS = click.argument("paths", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
_CHANNEL = click.option("--channel", type=int, help="Meter channel that feeds the node, where the run does not say it.")
_CALIBRATION = click.option(
    "--calibration",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Correct the meter's gains by a file of `epi calibrate --export`.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the files written.")


@click.group()
def export() -> None:
    """Runs in the formats of other tools.

    \b
    Example:
      epid export perfetto runs/*.mcap --out trace.pftrace     # open it at ui.perfetto.dev
      epid export parquet runs/*.mcap --out tables/
      epid export csv runs/baseline.mcap --out baseline.csv
    """


@export.command()
@_RUNS
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Trace file.")
@click.option("--host-time", is_flag=True, help="Keep the true distances between runs; else each begins at zero.")
@_CHANNEL
@_CALIBRATION
@_JSON
def perfetto(
    paths: tuple[Path, ...], out: Path, host_time: bool, channel: int | None, calibration: Path | None, as_json: bool
) -> None:
    """Power as counter tracks, phases, tokens and layers as slices, on one axis.

    \b
    Example:
      epid export perfetto runs/baseline.mcap runs/pruned.mcap --out trace.pftrace
    """
    with _needs("perfetto"):
        from .perfetto import write_perfetto
    runs = _load(paths, channel, calibration)
    slices = sum(2 * len(run.spans.columns["kind"]) + 4 * len(run.track) for run in runs)
    with _progress("writing", slices) as advance:
        write_perfetto(out, runs, host_time, advance)
    _say([out], as_json)


@export.command()
@_RUNS
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the tables.")
@_CHANNEL
@_CALIBRATION
@_JSON
def parquet(paths: tuple[Path, ...], out: Path, channel: int | None, calibration: Path | None, as_json: bool) -> None:
    """Tidy tables: runs, samples, spans; one row each.

    \b
    Example:
      epid export parquet runs/*.mcap --out tables/
      duckdb -c "SELECT label, layer, sum(metered_j) FROM 'tables/spans.parquet' WHERE layer >= 0 GROUP BY ALL"
    """
    with _needs("pyarrow"):
        from .parquet import write_parquet
    runs = _load(paths, channel, calibration)
    rows = sum(1 + len(run.spans.columns["kind"]) + len(run.track) for run in runs)
    with _progress("writing", rows) as advance:
        written = write_parquet(out, runs, advance)
    _say(written, as_json)


@export.command(name="csv")
@_RUNS
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV file; with several runs a folder.")
@_CHANNEL
@_CALIBRATION
@_JSON
def csv_command(paths: tuple[Path, ...], out: Path, channel: int | None, calibration: Path | None, as_json: bool) -> None:
    """Power traces: seconds and watts, with phase and request beside them.

    \b
    Example:
      epid export csv runs/baseline.mcap --out baseline.csv
      epi sim --channel 0=csv:baseline.csv --port-link ./meter      # replay it
    """
    from .power_csv import write_power_csv

    runs = _load(paths, channel, calibration)
    written = [out] if len(runs) == 1 else [out / f"{path.stem}.csv" for path in paths]
    for target, run in zip(written, runs, strict=True):
        write_power_csv(target, run)
    _say(written, as_json)


def _load(paths: Sequence[Path], channel: int | None, calibration: Path | None) -> list[Recorded]:
    from ..analysis.metering.calibration import load_corrections
    from .recorded import load_recorded

    corrections = load_corrections(calibration) if calibration else None
    with _progress("reading", len(paths)) as advance:
        runs = []
        for path in paths:
            runs.append(load_recorded(path, channel, corrections))
            advance(1)
    return runs


@contextmanager
def _needs(package: str) -> Iterator[None]:
    """Turn a package that is not installed into one sentence."""
    from ..errors import UsageError

    try:
        yield
    except ImportError as error:
        raise UsageError(f"this export needs the package {package}: pip install 'epid[export]'") from error


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], Any]]:
    """A bar on a terminal, nothing elsewhere."""
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        yield bar.update


def _say(written: Sequence[Path], as_json: bool) -> None:
    click.echo(json.dumps({"written": [str(path) for path in written]}) if as_json else "\n".join(map(str, written)))
