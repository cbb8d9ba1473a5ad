"""`epi calibrate`: options, prompts, and an answer for a person or a program."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from epi_tools.board import BoardError, choose_port
from epi_tools.calibrate.board_bench import BoardBench
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.export import check_path, write_export
from epi_tools.calibrate.person import Prompter, Script
from epi_tools.calibrate.plan import GAIN, LOADED, PHASE, STEPS, THRESHOLDS, TURNS, Plan, Sensor, parse_steps
from epi_tools.calibrate.procedure import Procedure
from epi_tools.calibrate.quantity import parse_quantity
from epi_tools.calibrate.reference import Given, read_reference
from epi_tools.calibrate.table import as_text

EXAMPLE = """\b
Examples:
  epi calibrate --channel 0
      walks you through offsets, gain and phase, and asks for the meter's readings
  epi calibrate --channel 0 --steps gain --reference-w 10.03 --reference-v 230.1 --yes
      a lamp is on, its readings are known: no questions
  epi calibrate --channel 0 --turns 4 --ct-ratio 1000 --burden-ohm 6 --export calibration.json
"""


class Complaint(click.ClickException):
    """A calibration that cannot be done: one sentence, exit code 2."""

    exit_code = 2


@click.command(epilog=EXAMPLE)
@click.option("--port", help="Serial port of the board, or tcp://HOST:PORT; default: the only one that is plugged in.")
@click.option("--board", "board_id", help="Id of the board that is meant; another is refused.")
@click.option("--channel", type=click.IntRange(0, 3), required=True, help="Channel to calibrate.")
@click.option("--steps", metavar="LIST", help=f"Some of {','.join(STEPS)}; default: all, with --yes {GAIN}.")
@click.option("--reference-w", default="", metavar="W", help="Power that the reference meter shows, like 10.03 or '0.01003 kW'.")
@click.option("--reference-v", default="", metavar="V", help="Its voltage; without it Ugain stays.")
@click.option("--reference-pf", default="", metavar="PF", help="Power factor of the load; default: 1, for the phase 0.5.")
@click.option("--reference-ohm", default="", metavar="OHM", help="A known resistor as load instead of a meter's power.")
@click.option("--reference-percent", type=click.FloatRange(0), metavar="P", help="The reference's own accuracy (two sigma).")
@click.option("--instrument", default="", metavar="TEXT", help="Name of the reference, for the exported file.")
@click.option("--turns", type=click.IntRange(1), help="Turns of the lead through the current transformer.")
@click.option("--ct-ratio", type=click.FloatRange(1), metavar="N", help="Ratio of the transformer, such as 1000.")
@click.option("--burden-ohm", type=click.FloatRange(0.01), metavar="OHM", help="Its burden resistor.")
@click.option("--ct", metavar="TEXT", help="Name of the transformer, for the record; a few letters.")
@click.option("--celsius", type=click.IntRange(-40, 125), help="Temperature at the board, for the record.")
@click.option("--start-w", metavar="W", help="Power from which energy is counted; well below an idle node.")
@click.option("--seconds", type=click.FloatRange(3), metavar="S", help="Time per measurement; default: what the tolerance needs.")
@click.option("--tolerance-percent", type=click.FloatRange(0.001), default=0.1, show_default=True, help="Largest error left.")
@click.option("--phase-tolerance", type=click.FloatRange(0.001), default=0.1, show_default=True, help="The same in degrees.")
@click.option("--yes", is_flag=True, help="Ask nothing: the load stands as it is.")
@click.option("--dry-run", is_flag=True, help="Measure and compute, store nothing on the board.")
@click.option(
    "--export", type=click.Path(path_type=Path, dir_okay=False), help="Write corrections for `epid report --calibration` here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def calibrate(
    port: str | None,
    board_id: str | None,
    channel: int,
    steps: str | None,
    reference_w: str,
    reference_v: str,
    reference_pf: str,
    reference_ohm: str,
    reference_percent: float | None,
    instrument: str,
    turns: int | None,
    ct_ratio: float | None,
    burden_ohm: float | None,
    ct: str | None,
    celsius: int | None,
    start_w: str | None,
    seconds: float | None,
    tolerance_percent: float,
    phase_tolerance: float,
    yes: bool,
    dry_run: bool,
    export: Path | None,
    as_json: bool,
) -> None:
    """Calibrate one channel of a meter against a reference, by the application note's procedure.

    Offsets with the current circuit open, gains with a load at PF 1, the phase with one at PF 0.5; each is measured, stored on
    the board, read back, and measured again. Where the second measurement does not confirm it, the old settings are put back.
    """
    given = Given(reference_w, reference_v, reference_pf, reference_ohm, reference_percent)
    try:
        prompter = None if yes else Prompter(given, channel)
        if prompter and steps is None:
            turns = prompter.turns() if turns is None else turns
            start_w = prompter.start_w() if start_w is None else start_w
        chosen = _steps(steps, yes, turns, start_w)
        person = prompter or Script(read_reference(given) if {GAIN, PHASE} & set(chosen) else None)
        plan = Plan(
            channel=channel,
            steps=chosen,
            seconds=seconds,
            tolerance=tolerance_percent / 100,
            phase_tolerance_deg=phase_tolerance,
            utc=datetime.now(UTC).strftime("%Y-%m-%d"),
            sensor=_sensor(turns, ct_ratio, burden_ohm),
            start_mw=_start_mw(start_w),
            ct=ct,
            turns=turns,
            celsius=celsius,
            dry_run=dry_run,
        )
        with BoardBench(choose_port(port), board_id) as bench:
            if export:
                check_path(export, str(bench.description.get("board_id", "")))
            outcome = Procedure(bench, person, plan, instrument).run()
        if export:
            write_export(export, outcome)
    except (CalibrationError, BoardError) as error:
        raise Complaint(str(error)) from error
    except KeyboardInterrupt:
        raise Complaint("Stopped; nothing was stored.") from None
    click.echo(json.dumps(outcome.document()) if as_json else as_text(outcome, plan))


def _steps(text: str | None, yes: bool, turns: int | None, start_w: str | None) -> tuple[str, ...]:
    steps = parse_steps(text) if text else ((GAIN,) if yes else (*LOADED, THRESHOLDS))
    implied = {TURNS: turns is not None, THRESHOLDS: start_w is not None}
    steps = tuple(step for step in STEPS if step in steps or implied.get(step, False))
    loaded = [step for step in steps if step in LOADED]
    if yes and len(loaded) > 1:
        raise CalibrationError(
            f"With --yes nobody changes the load between {' and '.join(loaded)}: choose one of them with --steps; "
            "nothing was stored."
        )
    return steps


def _sensor(turns: int | None, ratio: float | None, burden_ohm: float | None) -> Sensor | None:
    """The nominal sensitivity, where ratio and burden are told; turns alone are only recorded."""
    if ratio is None and burden_ohm is None:
        return None
    if turns is None or ratio is None or burden_ohm is None:
        raise CalibrationError("The sensor is known by --turns, --ct-ratio and --burden-ohm together: give all three.")
    return Sensor(turns, ratio, burden_ohm)


def _start_mw(text: str | None) -> int | None:
    return None if text is None else round(1000 * parse_quantity(text, "W", "The start-up power").value)
