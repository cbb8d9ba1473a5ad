"""Days of metering in virtual time with every fault there is: `make bench-endurance`, or `python tests/bench/endurance.py 72`.

Prints one JSON object. The energy of every channel is exact to the tick, or the gap is marked, or the exit status is 1.
"""

import contextlib
import json
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "firmware", HERE.parent / "board", HERE.parents[1] / "firmware"):
    sys.path.insert(0, str(folder))

from ordeal import CHANNELS, Ordeal  # noqa: E402 - the folders above are no package

STEP_S = 60


def endure(seed, hours, every_s, report=lambda simulated_s: None):
    """Run one ordeal; return its figures with the time it took. SIGINT or SIGTERM ends it early: what it has found counts."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a job in the background is born deaf to Ctrl-C
        signal.signal(number, signal.default_int_handler)
    ordeal = Ordeal(seed, every_s)
    started_s, cpu_s, left_s = time.monotonic(), time.process_time(), hours * 3600
    with contextlib.suppress(KeyboardInterrupt):
        while left_s > 0:
            ordeal.run(min(STEP_S, left_s))
            left_s -= STEP_S
            report(STEP_S)
    took_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    found = ordeal.figures()
    simulated_s = found["simulated_s"]
    return {"seed": seed, **found, "took_s": round(took_s, 1), "cpu_s": round(cpu_s, 1), "factor": round(simulated_s / took_s, 1)}


def unmarked_ticks(runs):
    """Ticks by which the books are wrong without a mark, by channel."""
    return [sum(run["channels"][channel]["unmarked"] for run in runs) for channel in range(CHANNELS)]


@click.command()
@click.argument("hours", type=click.FloatRange(min=0, min_open=True), default=72.0)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Share the hours between so many processes.")
@click.option("--seed", type=int, default=1, show_default=True, help="The faults' times and places.")
@click.option("--every", "every_s", default=600.0, show_default=True, help="Mean seconds between two faults of one kind.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the result to this file too.")
def main(hours, jobs, seed, every_s, out):
    """Meter for HOURS of virtual time with all faults on.

    \b
    Example:
      python tests/bench/endurance.py 72 --jobs 2 --out endurance.json
    """
    started_s = time.monotonic()
    if jobs == 1:
        with click.progressbar(length=round(hours * 3600), label=f"{hours:g} h simulated", file=sys.stderr) as bar:
            runs = [endure(seed, hours, every_s, bar.update)]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            started = [pool.submit(endure, seed + job, hours / jobs, every_s) for job in range(jobs)]
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the jobs by itself; this process waits for them
            runs = [job.result() for job in started]
    wrong = unmarked_ticks(runs)
    took_s = time.monotonic() - started_s
    simulated_s = sum(run["simulated_s"] for run in runs)
    result = {
        "simulated": True,
        "hours": round(simulated_s / 3600, 3),
        "energy_error_ticks": wrong,
        "unexplained_frames": sum(run["host"]["unexplained"] for run in runs),
        "took_s": round(took_s, 1),
        "factor": round(simulated_s / took_s, 1),
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if any(wrong) or result["unexplained_frames"] else 0)


if __name__ == "__main__":
    main()
