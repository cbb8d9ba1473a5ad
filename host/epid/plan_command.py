"""The command `epid plan-experiment`: repeats and order, before anything is measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from .errors import UsageError


@click.command("plan-experiment")
@click.argument("paths", nargs=-1, metavar="[RUN]...", type=click.Path(path_type=Path))
@click.option("--effect", default=1.0, show_default=True, metavar="PERCENT", help="Least change of J/token that shall be seen.")
@click.option(
    "--cv", "cv_percent", type=float, metavar="PERCENT", help="Scatter of J/token between runs, instead of earlier runs."
)
@click.option("--power", default=0.95, show_default=True, help="Probability of seeing an effect of that size.")
@click.option("--alpha", default=0.01, show_default=True, help="Probability of seeing one that is not there, both sides.")
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="A model of the experiment; default: baseline and pruned.")
@click.option("--layout", type=click.Choice(["abba", "blocks"]), default="abba", show_default=True, help="Order of the runs.")
@click.option("--seed", default=0, show_default=True, help="Decides the order of randomised blocks.")
@click.option("--minutes", "run_minutes", type=float, default=math.nan, help="Length of one run, idle and cooling included.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan_experiment(
    paths: tuple[Path, ...],
    effect: float,
    cv_percent: float | None,
    power: float,
    alpha: float,
    arms: tuple[str, ...],
    layout: str,
    seed: int,
    run_minutes: float,
    as_json: bool,
) -> None:
    """Say how many runs an effect takes, and in which order to make them.

    The scatter between runs comes from earlier runs of equal models (RUN...), or from --cv.

    \b
    Example:
      epid plan-experiment runs/baseline-*.mcap --effect 1 --minutes 3
      epid plan-experiment --cv 0.4 --effect 1 --arm baseline --arm cut25 --layout blocks --seed 7 --json
    """
    from .analysis.study.experiment import Noise, noise_of, plan
    from .analysis.summary import summarise_all

    _check(effect, power, alpha, cv_percent, paths)
    noise = noise_of(summarise_all(paths)) if cv_percent is None else Noise(cv_percent / 100, cv_percent / 100, "given by --cv")
    planned = plan(arms or ("baseline", "pruned"), effect / 100, noise, alpha, power, layout, seed, run_minutes)
    if as_json:
        click.echo(json.dumps(planned.to_map(), indent=1))
        return
    click.echo(f"scatter between runs: {noise.cv:.3%} ({noise.source}); reckoned with: {noise.used:.3%}")
    click.echo(
        f"{planned.repeats} runs of each arm see a change of {effect:g} % with power {planned.power:.3f} at alpha {alpha:g}"
    )
    if math.isfinite(planned.minutes):
        click.echo(f"{planned.minutes:.1f} minutes per arm")
    click.echo("order, each with idle before and after:")
    for place, arm in enumerate(planned.order, 1):
        click.echo(f"{place:>4}  {arm}")


def _check(effect: float, power: float, alpha: float, cv_percent: float | None, paths: tuple[Path, ...]) -> None:
    if not 0 < effect < 100:
        raise UsageError(f"--effect {effect:g} is not between 0 and 100 percent")
    if not 0 < alpha < 0.5 or not alpha < power < 1:
        raise UsageError("--alpha must lie between 0 and 0.5, and --power between it and 1")
    if cv_percent is None and not paths:
        raise UsageError("name earlier runs to take the scatter from, or give it with --cv")
    if cv_percent is not None and not 0 < cv_percent < 100:
        raise UsageError(f"--cv {cv_percent:g} is not between 0 and 100 percent")
