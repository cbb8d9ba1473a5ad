"""`epi-surgery eval`."""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.accuracy import judge
from epi_surgery.evaluate.blimp import read_blimp
from epi_surgery.evaluate.coherence import PROMPTS
from epi_surgery.evaluate.coherence import coherence as written
from epi_surgery.evaluate.engine import Engine, Limits
from epi_surgery.evaluate.open_engine import ENGINES, default_engine, identity, opened
from epi_surgery.evaluate.perplexity import divergence, perplexity, windows_of
from epi_surgery.evaluate.result import accuracy_record, beside, measured_record, record, write_record
from epi_surgery.plan import ModelId
from epi_surgery.progress import bar
from epi_surgery.table import Row, aligned, percent


@dataclass(frozen=True)
class Tasks:
    """What to evaluate on; None where not asked for."""

    blimp: Path | None
    task: str
    limit: int | None
    text: Path | None
    n_tokens: int
    window: int
    bos: bool
    write: bool


@click.command(name="eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--blimp", type=click.Path(path_type=Path), help="Folder with BLiMP's .jsonl files, one for each test.")
@click.option("--task", default="blimp", show_default=True, help="What the pairs in that folder are called in the record.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many pairs of each test.")
@click.option("--text", type=click.Path(path_type=Path), help="UTF-8 text for perplexity.")
@click.option("--tokens", "n_tokens", type=click.IntRange(2), default=4096, show_default=True, help="Of the text, at most.")
@click.option("--window", type=click.IntRange(2), default=256, show_default=True, help="Tokens that are seen together.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Model to measure the divergence of --text from.")
@click.option("--engine", type=click.Choice(ENGINES), help="[default: llama for a GGUF, torch for a folder]")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True, help="For torch.")
@click.option("--bos/--no-bos", default=False, show_default=True, help="Begin every sentence and window with the BOS token.")
@click.option("--coherence", is_flag=True, help="Also continue four prompts greedily and say whether that is still language.")
@click.option("--out", type=click.Path(path_type=Path), help="[default: MODEL.eval.json beside the model]")
@click.option("--json", "as_object", is_flag=True, help="Print the record instead of a summary.")
def evaluate(
    model: Path,
    blimp: Path | None,
    task: str,
    limit: int | None,
    text: Path | None,
    n_tokens: int,
    window: int,
    baseline: Path | None,
    engine: str | None,
    dtype: str,
    bos: bool,
    coherence: bool,
    out: Path | None,
    as_object: bool,
) -> None:
    """Evaluate MODEL on minimal pairs and on a text; the result goes beside it as MODEL.eval.json.

    \b
    Example: epi-surgery eval cut.gguf --blimp blimp/data --text held-out.txt --baseline model.gguf
    """
    if blimp is None and text is None and not coherence:
        raise SurgeryError("nothing to evaluate on: give --blimp FOLDER, --text FILE, --coherence, or all of them")
    if baseline is not None and text is None:
        raise SurgeryError("--baseline compares predictions on a text: give --text FILE")
    if not model.exists():
        raise SurgeryError(f"{model}: no such file or folder")
    tasks = Tasks(blimp, task, limit, text, n_tokens, window, bos, coherence)
    limits = Limits(nodes=max(512, window))
    with ExitStack() as stack:
        running = stack.enter_context(opened(model, engine or default_engine(model), dtype, limits))
        other, other_id = None, None
        if baseline is not None:
            other = stack.enter_context(opened(baseline, engine or default_engine(baseline), dtype, limits))
            other_id = identity(baseline)
        parts = measure(running, tasks, other, other_id)
        name = running.name
    body = record(identity(model), model.name, name, bos, datetime.now(UTC).isoformat(timespec="seconds"), parts)
    write_record(out or beside(model), body)
    click.echo(json.dumps(body, indent=1) if as_object else summary(body, out or beside(model)))


def measure(engine: Engine, tasks: Tasks, other: Engine | None, other_id: ModelId | None) -> dict[str, dict[str, Any]]:
    """Accuracy, perplexity, divergence and coherence, as far as asked for."""
    parts: dict[str, dict[str, Any]] = {}
    if tasks.blimp is not None:
        pairs = read_blimp(tasks.blimp, tasks.limit)
        start = time.monotonic()
        with bar("minimal pairs", len(pairs)) as advance:
            verdicts = judge(engine, pairs, tasks.bos, advance)
        parts["accuracy"] = accuracy_record(tasks.task, pairs, verdicts, len(pairs) / (time.monotonic() - start))
    if tasks.text is not None:
        windows = windows_of(engine, _read(tasks.text), str(tasks.text), tasks.n_tokens, tasks.window, tasks.bos)
        with bar("perplexity", len(windows.tokens)) as advance:
            parts["perplexity"] = measured_record(perplexity(engine, windows, advance), text=tasks.text.name)
        if other is not None and other_id is not None:
            with bar("divergence", len(windows.tokens)) as advance:
                named = {"name": other_id.name, "sha256": other_id.sha256}
                parts["kl"] = measured_record(divergence(other, engine, windows, advance), baseline=named)
            with bar("perplexity, baseline", len(windows.tokens)) as advance:
                parts["kl"]["baseline"]["perplexity"] = perplexity(other, windows, advance).value
    if tasks.write:
        parts["coherence"] = asdict(written(engine, _perplexity_ratio(parts)))
    return parts


def _perplexity_ratio(parts: dict[str, dict[str, Any]]) -> float | None:
    if "kl" not in parts:
        return None
    return float(parts["perplexity"]["value"] / parts["kl"]["baseline"]["perplexity"])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SurgeryError(f"{path}: not UTF-8 text (byte {error.start:,} cannot be decoded); convert it first") from error


def summary(body: dict[str, Any], out: Path) -> str:
    """The record in a few lines."""
    rows: list[Row] = [("model", body["model"]["name"]), ("engine", f"{body['engine']}, {'with' if body['bos'] else 'no'} BOS")]
    if accuracy := body["accuracy"]:
        whole = (
            f"{percent(accuracy['value'])}  {_bounds(accuracy['interval'], 100)}  {accuracy['correct']} of {accuracy['n']} pairs"
        )
        rows.append((accuracy["task"], f"{whole}, {accuracy['pairs_per_s']:.1f} pairs/s"))
        rows += [
            (f"  {name}", f"{percent(part['value'])}  {_bounds(part['interval'], 100)}")
            for name, part in accuracy["categories"].items()
        ]
    if found := body["perplexity"]:
        rows.append(
            ("perplexity", f"{found['value']:.2f}  {_bounds(found['interval'])}  {found['text']}, {found['tokens']} tokens")
        )
    if found := body["kl"]:
        rows.append(
            ("KL to baseline", f"{found['value']:.4f} nats  {_bounds(found['interval'])}  to {found['baseline']['name']}")
        )
    if found := body["coherence"]:
        rows.append(("coherence", f"{found['verdict']}, {percent(found['repeated'])} of three-token runs repeat"))
        rows += [
            ("  wrote", f"{prompt}{' '.join(text.split(chr(10)))}")
            for prompt, text in zip(PROMPTS, found["continuations"], strict=True)
        ]
    return aligned([*rows, ("written to", str(out))])


def _bounds(interval: list[float], scale: float = 1) -> str:
    return f"[{scale * interval[0]:.4g}, {scale * interval[1]:.4g}]"
