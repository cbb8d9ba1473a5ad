"""From truths to run files: single runs, and whole experiments in an order that drift cannot fake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from epi_tools.simrun.board import true_gain
from epi_tools.simrun.decoder import evaluation, model_map
from epi_tools.simrun.draws import draws
from epi_tools.simrun.heard import BoardJob, Hear, Progress, hear
from epi_tools.simrun.inference import Inference
from epi_tools.simrun.layout import AFTER_NS, BEFORE_NS, Simulated
from epi_tools.simrun.outcome import outcome
from epi_tools.simrun.power import SLOW_NS, Profile, profile
from epi_tools.simrun.recorded import Recorded
from epi_tools.simrun.recording import write_run
from epi_tools.simrun.spans import Spans
from epi_tools.simrun.truth import Model, Timing, Truth, Workload

_FIRST_NS = 100_000_000_000
"""Where the first run of an experiment lies in true time; any moment of the host's clock would do."""
_PAUSE_NS = 20_000_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """One run to be made: an arm, which of its repeats, and at which place of the experiment it comes."""

    truth: Truth
    repeat: int
    place: int


@dataclass(frozen=True, slots=True)
class Written:
    """A run file, and what truly happened in it."""

    run: Path
    truth: dict[str, Any]


def interleaved(arms: Sequence[Truth], repeats: int) -> list[Order]:
    """Blocks that hold every arm once, every second block backwards (ABBA): a slow drift meets all arms alike."""
    orders = []
    for repeat in range(repeats):
        block = list(arms) if repeat % 2 == 0 else list(reversed(arms))
        orders += [Order(truth, repeat, repeat * len(arms) + at) for at, truth in enumerate(block)]
    return orders


def simulate(
    order: Order, seed: int, path: Path, utc: str, recorded: Recorded | None, progress: Progress, hear_board: Hear = hear
) -> Written:
    """Write one run file; `recorded` spans take the place of an inference made up. Raises EpidError or OSError.

    `hear_board` runs the board: in this interpreter, or in a faster one (other_python), to the same bytes.
    """
    laid_out, power = lay_out(order, seed, utc, recorded)
    until_ns = laid_out.end_ns + AFTER_NS
    job = BoardJob(order.truth, power.source, seed, order.place, laid_out.run, laid_out.start_ns, laid_out.begin_ns, until_ns)
    write_run(path, laid_out, hear_board(job, progress))
    return Written(path, outcome(laid_out, power, true_gain(order.truth.meter, seed)))


def lay_out(order: Order, seed: int, utc: str, recorded: Recorded | None) -> tuple[Simulated, Profile]:
    """Put a run's spans, watts and temperature on true time; nothing is metered yet."""
    truth, repeat = order.truth, order.repeat
    spans = _spans(truth.arm, truth.model, truth.workload, truth.timing, seed, repeat) if recorded is None else recorded.spans
    lasts_ns = int(spans.columns["end_ns"].max()) + 1_000_000
    begin_ns = _FIRST_NS + order.place * (lasts_ns + _PAUSE_NS)
    start_ns, end_ns = begin_ns - BEFORE_NS, begin_ns + lasts_ns
    spans = spans.shifted(begin_ns)
    power, celsius = profile(truth, spans, seed, repeat, start_ns, end_ns + AFTER_NS + _PAUSE_NS)
    asked = evaluation(truth, draws(seed, truth.arm, "answers"))
    model = model_map(truth, asked) | ({} if recorded is None else recorded.model | {"eval": asked, "simulated": True})
    run = Random(f"run {seed} {truth.arm} {repeat} {order.place}").randbytes(8).hex()
    label = f"{truth.arm}-{repeat + 1}"
    return Simulated(truth, seed, repeat, label, run, utc, spans, begin_ns, end_ns, model, celsius, SLOW_NS), power


@lru_cache(maxsize=2)
def _spans(arm: str, model: Model, workload: Workload, timing: Timing, seed: int, repeat: int) -> Spans:
    """An inference made up; kept for a while, because truths that differ in their watts alone share it."""
    return Inference(Truth(arm=arm, model=model, workload=workload, timing=timing), seed, repeat).spans()
