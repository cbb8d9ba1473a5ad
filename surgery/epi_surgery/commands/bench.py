"""`epi-surgery bench`."""

import json
from pathlib import Path
from typing import Any

import click

from epi_surgery.errors import SurgeryError
from epi_surgery.output import check_target, write_text
from epi_surgery.progress import bar

_SHAPES = ("1b", "135m", "135m-group4")
_POINTS = ("prefill:64", "decode:64", "decode:512", "decode:2048")
_CASES = tuple(f"{prompt}-{new}{end}" for end in ("", ", no cache") for prompt in ("short", "long") for new in (64, 256))


@click.command()
@click.option("--shape", type=click.Choice(_SHAPES), default="1b", show_default=True, help="Layer shapes; weights are random.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.25, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True, help="Arithmetic.")
@click.option("--point", "points", multiple=True, metavar="prefill:N|decode:N", help=f"[default: {' '.join(_POINTS)}]")
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True, help="Every round times every variant once.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of torch.")
@click.option("--cpu-time", is_flag=True, help="Count the process's CPU seconds: on a busy machine, with one thread.")
@click.option("--tables", is_flag=True, help="Instead the report's tables I and III on these shapes: slow, as they were.")
@click.option("--case", "cases", type=click.Choice(_CASES), multiple=True, help="With --tables: only this row of table III.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which heads leave, and the order of the variants.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the figures as JSON.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON instead of a table.")
def bench(out: Path | None, force: bool, as_object: bool, **choices: Any) -> None:
    """Time cuts in PyTorch against the unpruned model in the same module, paired and interleaved.

    Ratios above 1 are faster than the unpruned model. `expanding` is the ragged cut with keys and values repeated for every
    head, as published.

    \b
    Example: epi-surgery bench --shape 135m --share 0.33 --dtype float32 --point decode:64
    """
    points = [_point(text) for text in choices.pop("points") or _POINTS]
    if choices["cpu_time"] and choices["threads"] > 1:
        raise SurgeryError("--cpu-time adds up what all threads do, so it says nothing about their speed; use one thread")
    if choices["cases"] and not choices["tables"]:
        raise SurgeryError("--case names rows of table III: give --tables, too")
    if out is not None:
        check_target(out, force)
    from epi_surgery.bench.run import run_points, run_tables, text_of

    body = run_tables(choices, bar) if choices["tables"] else run_points(choices, points, bar)
    if out is not None:
        write_text(out, json.dumps(body, indent=1) + "\n")
    click.echo(json.dumps(body, indent=1) if as_object else text_of(body))


def _point(text: str) -> tuple[str, int]:
    kind, _, length = text.partition(":")
    if kind not in ("prefill", "decode") or not length.isdigit() or not 0 < int(length) <= 8000:
        raise SurgeryError(f"--point takes prefill:N or decode:N with 1 to 8000 tokens, not '{text}'")
    return kind, int(length)
