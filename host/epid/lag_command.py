"""`epid lag`: how far the meter's power readings are behind the load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .errors import RunFileError

_VERDICT = {True: "agree", False: "DISAGREE: trust neither before you know why", None: "could not be compared"}

if TYPE_CHECKING:
    from .analysis.lag.lag import LagFit
    from .analysis.timeline.run import Run
    from .analysis.timeline.timeline import MeterTrack
    from .lag_check import LagCheck


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--channel", type=int, help="Meter channel that feeds the node, where the run does not say it.")
@click.option(
    "--marks",
    "marks_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Steps of the load that an outside instrument saw (see `epid marks`): an independent check.",
)
@click.option("--save", is_flag=True, help="Keep it beside each run, in RUN.lag.json, for every later analysis.")
@click.option("--figure", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: a .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per run.")
def lag(
    paths: tuple[Path, ...], channel: int | None, marks_path: Path | None, save: bool, figure: Path | None, as_json: bool
) -> None:
    """Find the averaging window and the delay of the meter's power from a run's load pattern.

    The pattern (spans `burn` and `rest`) is what the runner plays at both ends of a run. The energy registers, which do not
    lag, stand beside it as a second way to the same figure.

    \b
    Example:
      epid lag runs/baseline.mcap --save --figure lag.png
      epid lag runs/baseline.mcap --marks marks.csv
    """
    for path in paths:
        run, track, found = _find(path, channel)
        check = None if marks_path is None else _check(marks_path, run, track, found)
        if save:
            from .analysis.lag.lag_file import store_lag

            store_lag(run, track, found.to_map())
        if figure is not None:
            from .lag_picture import draw_lag

            draw_lag(_picture_path(figure, path, len(paths)), run.label, track, found)
        document = {"run": str(path), "simulated": track.simulated, "channel": track.channel, **found.to_map()}
        if check is not None:
            document["marks"] = check.to_map()
        click.echo(json.dumps(document) if as_json else "\n".join(_lines(run.label, track, found, check)))


def _check(marks_path: Path, run: Run, track: MeterTrack, found: LagFit) -> LagCheck:
    from .analysis.timeline.timeline import span_table
    from .lag_check import check_lag
    from .marks import read_marks

    clocks_s = (span_table(run.node).bound_ns + float(track.bound_ns.max())) / 1e9
    return check_lag(found, read_marks(marks_path), clocks_s)


def _find(path: Path, channel: int | None) -> tuple[Run, MeterTrack, LagFit]:
    from .analysis.lag.lag import find_lag
    from .analysis.metering.metered import metered_channel
    from .analysis.timeline.run import load_run
    from .analysis.timeline.timeline import meter_track, span_table

    run = load_run(path)
    track = meter_track(*metered_channel(run, channel))
    found = find_lag(track, span_table(run.node))
    if found is None:
        raise RunFileError(
            f"{path} holds no load pattern that was metered (spans `burn` and `rest` for some seconds); "
            "record one with the runner's option for it"
        )
    return run, track, found


def _lines(label: str, track: MeterTrack, found: LagFit, check: LagCheck | None) -> list[str]:
    lag, tag = found.lag, " (simulated)" if track.simulated else ""
    lines = [
        f"{label}{tag}, channel {track.channel}: {found.readings} readings in {found.pattern_s:.0f} s of load pattern",
        f"  power is a mean over {_ms(lag.window_s)} that ended {_ms(lag.delay_s)} before it was read",
        f"  its middle is {_ms(lag.centre_s)} ± {_ms(lag.within_s)} old (95 %), by the shape that fits best: {found.shape}",
        f"  against the energy registers the window ended {_pm(found.registers.value, found.registers.within)} before",
        f"  the load followed its spans by {_pm(found.load.value, found.load.within)}; the two ways {_VERDICT[found.closes]}",
    ]
    if check is not None:
        seen = f"{check.matched} of {check.marks} marks {_pm(check.delay_s, check.within_s)} after the spans' {check.edges} steps"
        lines.append(f"  an outside instrument saw {seen}; it and the registers {_VERDICT[check.agrees]}")
    return lines


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _pm(seconds: float, within_s: float) -> str:
    return "an unknown time" if seconds != seconds else f"{_ms(seconds)} ± {_ms(within_s)}"


def _picture_path(figure: Path, run: Path, n_runs: int) -> Path:
    return figure if n_runs == 1 else figure.with_stem(f"{figure.stem}-{run.stem}")
