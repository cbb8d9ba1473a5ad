"""Do 95 % intervals hold the truth 95 times in a hundred? A thousand simulated experiments say so.

Every experiment draws its own truth (watts of every layer, wandering, temperature, clocks, delays, the meter's gain and window),
writes interleaved runs of a baseline and of a cut arm through the chip model, the firmware and the frames, and lets the analysis
find out. Run from the repository:

    python tests/bench/coverage.py --experiments 1000 --processes 2 --out coverage.jsonl

`--simulator pypy3` lets that interpreter run the firmware and the chip models: the same bytes, several times sooner.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from coverage_score import Score, score_world
from coverage_world import draw_world

from epi_tools.simrun.heard import Hear, hear
from epi_tools.simrun.other_python import OtherPython


@click.command()
@click.option("--experiments", type=click.IntRange(1), default=1000, show_default=True, help="How many truths to draw.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Other truths with every other seed.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Runs per arm.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--simulator", metavar="PYTHON", default="", help="Another interpreter to run the boards in, such as pypy3.")
@click.option("--runs-only", is_flag=True, help="Score single runs alone, without comparing the arms.")
@click.option("--halves", is_flag=True, help="Where layers are computed again, every second time their attention half alone.")
@click.option("--out", type=click.Path(path_type=Path), help="Append one line per score to this file, as it goes.")
@click.option("--table", "only_table", is_flag=True, help="Only print the table of what stands in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def coverage(
    experiments: int,
    first: int,
    seed: int,
    repeats: int,
    processes: int,
    simulator: str,
    runs_only: bool,
    halves: bool,
    out: Path | None,
    only_table: bool,
    as_json: bool,
) -> None:
    """Draw truths, simulate, analyse, and count how often the truth was held."""
    scores = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    if not only_table:
        work = partial(run_one, seed=seed, repeats=repeats, study=not runs_only, halves=halves, simulator=simulator)
        for found in run_all(range(first, first + experiments), processes, work):
            scores += found
            if out:
                with out.open("a") as stream:
                    stream.writelines(json.dumps(score) + "\n" for score in found)
    rows = table(scores)
    click.echo(json.dumps(rows, indent=1) if as_json else as_text(rows))


def run_all(numbers: range, processes: int, work: Callable[[int], list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the scores of each experiment as it is done, with a bar on a terminal; one that fails is a score too."""
    with (
        ProcessPoolExecutor(processes, initializer=_settle) as pool,
        click.progressbar(length=len(numbers), label="experiments", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar,
    ):
        begun = {pool.submit(work, number): number for number in numbers}
        for done in as_completed(begun):
            bar.update(1)
            failure = done.exception()
            yield done.result() if failure is None else [_failed(begun[done], failure)]


def _failed(number: int, failure: BaseException) -> dict[str, Any]:
    found = Score(number, "worked out at all", False, math.nan, math.nan, f"{type(failure).__name__}: {failure}")
    return found.to_map()


def _settle() -> None:
    """Stay out of others' way; and what was imported need not be looked through whenever the firmware collects."""
    os.nice(max(0, 15 - os.nice(0)))
    gc.collect()
    gc.freeze()


def run_one(number: int, seed: int, repeats: int, study: bool, halves: bool, simulator: str = "") -> list[dict[str, Any]]:
    """One experiment in a folder of its own that does not stay."""
    with tempfile.TemporaryDirectory(prefix="epi-coverage-") as folder:
        world = draw_world(number, seed, halves=halves)
        scores = score_world(world, seed, repeats, Path(folder), study, _heard_by(simulator))
    done = Score(number, "worked out at all", True, math.nan, math.nan)
    return [score.to_map() for score in (*scores, done)]


@cache
def _heard_by(simulator: str) -> Hear:
    """The simulator of this process: the other interpreter needs a while to become fast, so it stays."""
    return OtherPython(simulator).hear if simulator else hear


def table(scores: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per figure: how many, how often held, error (median and 95th of a hundred), half width, claims."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for score in scores:
        by_name[score["name"]].append(score)
    return [_row(name, mine) for name, mine in sorted(by_name.items())]


def _row(name: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    errors = np.abs(np.array([score["error"] for score in scores], float))
    claims: dict[str, int] = defaultdict(int)
    for score in scores:
        claims[score["claim"]] += 1
    return {
        "figure": name,
        "experiments": len({score["experiment"] for score in scores}),
        "n": len(scores),
        "held": float(np.mean([score["held"] for score in scores])),
        "error_median": _of_known(np.median, errors),
        "error_95": _of_known(partial(np.quantile, q=0.95), errors),
        "half_width": _of_known(np.median, np.array([score["width"] for score in scores], float)),
        "claims": {claim: count for claim, count in sorted(claims.items()) if claim},
    }


def _of_known(statistic: Any, values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(statistic(known)) if len(known) else None


def as_text(rows: list[dict[str, Any]]) -> str:
    """The table for people."""
    lines = [f"{'figure':<26}{'experiments':>12}{'n':>8}{'held':>9}{'|error| 50 %':>14}{'95 %':>9}{'± width':>10}  claims"]
    for row in rows:
        numbers = [row["error_median"], row["error_95"], row["half_width"]]
        shown = [("" if value is None else f"{value:.2%}") for value in numbers]
        claims = " ".join(f"{claim}:{count}" for claim, count in row["claims"].items())
        lines.append(
            f"{row['figure']:<26}{row['experiments']:>12}{row['n']:>8}{row['held']:>9.1%}"
            f"{shown[0]:>14}{shown[1]:>9}{shown[2]:>10}  {claims}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    started_s = time.monotonic()
    coverage(standalone_mode=False)
    click.echo(f"{time.monotonic() - started_s:.0f} s", err=True)
