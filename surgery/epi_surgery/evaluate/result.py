"""The record of an evaluation, `MODEL.eval.json` beside the model: what the energy report divides joules by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from epi_surgery.evaluate.blimp import MinimalPair, Tally, tally
from epi_surgery.evaluate.interval import wilson
from epi_surgery.evaluate.perplexity import Measured
from epi_surgery.output import write_text
from epi_surgery.plan import ModelId

FORMAT, VERSION = "epi-surgery eval", 1
SUFFIX = ".eval.json"


def beside(model: Path) -> Path:
    """Where the evaluation of a model stands."""
    return model.with_name(model.name + SUFFIX)


def record(model: ModelId, file: str, engine: str, bos: bool, utc: str, parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The JSON object; `parts` are accuracy, perplexity, kl and coherence, None where not asked for."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": {"name": model.name, "file": file, "sha256": model.sha256, "n_bytes": model.n_bytes},
        "engine": engine,
        "bos": bos,
        **{name: parts.get(name) for name in ("accuracy", "perplexity", "kl", "coherence")},
        "utc": utc,
    }


def accuracy_record(task: str, pairs: Sequence[MinimalPair], verdicts: Sequence[bool], pairs_per_s: float) -> dict[str, Any]:
    """Accuracy over all pairs, per category and per test, each with its Wilson interval."""
    whole = Tally(sum(map(bool, verdicts)), len(verdicts))
    return {
        "task": task,
        **_share(whole),
        "categories": {name: _share(found) for name, found in tally([pair.category for pair in pairs], verdicts).items()},
        "tests": {name: _share(found) for name, found in tally([pair.test for pair in pairs], verdicts).items()},
        "pairs_per_s": round(pairs_per_s, 2),
    }


def measured_record(found: Measured, **origin: Any) -> dict[str, Any]:
    """A value with its interval, and what it was measured on."""
    return {**origin, **asdict(found), "interval": list(found.interval)}


def write_record(path: Path, body: Mapping[str, Any]) -> None:
    """Write whole or not at all."""
    write_text(path, json.dumps(body, indent=1) + "\n")


def _share(found: Tally) -> dict[str, Any]:
    low, high = wilson(found.correct, found.n)
    value = found.correct / found.n
    return {"correct": found.correct, "n": found.n, "value": round(value, 6), "interval": [round(low, 6), round(high, 6)]}
