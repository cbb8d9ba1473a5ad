"""Run a benchmark and put its figures into one JSON object, with everything needed to run it again."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from epi_surgery.bench.paired import Ratio, interleaved, ratios
from epi_surgery.bench.shapes import SHAPES, random_model
from epi_surgery.bench.speed import Point, workload
from epi_surgery.bench.tables import forward_of_64, generation, table_one, throughput_cases
from epi_surgery.bench.variants import variants
from epi_surgery.model.load import DTYPES
from epi_surgery.progress import Bar
from epi_surgery.table import aligned

BASELINE = "unpruned"
_FORWARDS = 100  # the report's repeats of its 64-token forward pass


def run_points(choices: Mapping[str, Any], points: Sequence[Point], bar: Bar) -> dict[str, Any]:
    """Every variant at every point."""
    models = _models(choices)
    rows = []
    with bar("benchmark", len(points)) as advance:
        for point in points:
            runs = {name: workload(model, point) for name, model in models.items()}
            found = _ratios(runs, choices)
            rows.append({"point": f"{point[0]}:{point[1]}", **{name: asdict(ratio) for name, ratio in found.items()}})
            advance(1)
    return {**_conditions(choices), "points": rows}


def run_tables(choices: Mapping[str, Any], bar: Bar) -> dict[str, Any]:
    """Table I; table III with the report's 100 repeats of the forward pass, and generation in the rounds asked for."""
    models = _models(choices)
    cases = [case for case in throughput_cases() if case[0] in choices["cases"] or not choices["cases"]]
    rows = []
    with bar("benchmark", len(cases) + 1) as advance:
        latency = _ratios({name: forward_of_64(model) for name, model in models.items()}, {**choices, "rounds": _FORWARDS})
        advance(1)
        for name, n_prompt, n_new, cache in cases:
            runs = {variant: generation(model, n_prompt, n_new, cache) for variant, model in models.items()}
            found = _ratios(runs, choices)
            speeds = {variant: {**asdict(ratio), "tokens_per_s": n_new / ratio.seconds} for variant, ratio in found.items()}
            rows.append({"case": name, **speeds})
            advance(1)
    forward = {name: asdict(ratio) for name, ratio in latency.items()}
    return {**_conditions(choices), "parameters": table_one(models), "forward_64": forward, "throughput": rows}


def text_of(body: Mapping[str, Any]) -> str:
    """The figures as tables."""
    head = [(name, str(value)) for name, value in body.items() if isinstance(value, str | int | float)]
    parts = [aligned(head)]
    if "points" in body:
        parts.append(_ratio_table([(row["point"], row) for row in body["points"]]))
    else:
        names = [name for name in body["parameters"][0] if name != "component"]
        lines = ["".join(["parameters".ljust(24), *(name.rjust(14) for name in names)])]
        lines += ["".join([row["component"].ljust(24), *(f"{row[name]:>14,}" for name in names)]) for row in body["parameters"]]
        timed = [("64-token forward", body["forward_64"]), *((row["case"], row) for row in body["throughput"])]
        parts += ["\n".join(lines), _ratio_table(timed)]
    return "\n\n".join(parts)


def _ratio_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    names = [name for name, value in rows[0][1].items() if isinstance(value, dict)]
    lines = ["".join(["".ljust(22), f"{BASELINE} ms".rjust(14), *(name.rjust(24) for name in names if name != BASELINE)])]
    for label, row in rows:
        cells = [
            f"{row[name]['value']:.3f} [{row[name]['interval'][0]:.3f}, {row[name]['interval'][1]:.3f}]".rjust(24)
            for name in names
            if name != BASELINE
        ]
        lines.append("".join([label.ljust(22), f"{1e3 * row[BASELINE]['seconds']:14.2f}", *cells]))
    return "\n".join(lines)


def _models(choices: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(choices["threads"])
    shape = SHAPES[choices["shape"]]
    return variants(random_model(shape, DTYPES[choices["dtype"]], choices["seed"]), shape, choices["share"], choices["seed"])


def _ratios(runs: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Ratio]:
    clock = time.process_time if choices["cpu_time"] else time.perf_counter
    return ratios(interleaved(runs, choices["rounds"], choices["seed"], clock), BASELINE)


def _conditions(choices: Mapping[str, Any]) -> dict[str, Any]:
    shape = SHAPES[choices["shape"]]
    return {
        "format": "epi-surgery bench",
        "shape": shape.name,
        "removed": choices["share"],
        "dtype": choices["dtype"],
        "rounds": choices["rounds"],
        "threads": choices["threads"],
        "clock": "CPU seconds" if choices["cpu_time"] else "wall",
        "seed": choices["seed"],
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
