"""Scores of heads as JSON files: what ranked which model's heads, and everything needed to do it again. No torch.

    {"format": "epi-surgery scores", "version": 1,
     "model": {"name": …, "sha256": …, "n_bytes": …},
     "criterion": "taylor", "provenance": {"text_sha256": …, "tokens": …, "seed": …, "versions": {…}, …},
     "scores": [[one number per query head] per layer]}

A high score means keep. Numbers are written so that reading gives back the same float.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from epi_surgery.document import Kind, body_of, model_of, read
from epi_surgery.errors import SurgeryError
from epi_surgery.norms import Scores
from epi_surgery.output import write_text
from epi_surgery.plan import ModelId


class BadScores(SurgeryError):
    """The score file is malformed, or belongs to another model."""


KIND = Kind("score file", "epi-surgery scores", 1, BadScores)


@dataclass(frozen=True)
class HeadScores:
    """One score per layer and query head of one model, low = removed first, and how they came about."""

    model: ModelId
    criterion: str
    scores: Scores
    provenance: Mapping[str, Any] = field(default_factory=dict)


def scores_json(found: HeadScores) -> str:
    """The scores as text, one layer to a line."""
    head = {
        "format": KIND.format,
        "version": KIND.version,
        "model": asdict(found.model),
        "criterion": found.criterion,
        "provenance": dict(found.provenance),
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())
    rows = ",\n  ".join(json.dumps(list(row)) for row in found.scores)
    return f'{{\n{lines},\n"scores": [\n  {rows}\n]\n}}\n'


def write_scores(path: Path, found: HeadScores) -> None:
    """Write the scores whole or not at all."""
    write_text(path, scores_json(found))


def read_scores(path: Path) -> HeadScores:
    """Read and check a score file; raises BadScores with its name and what is wrong."""
    return read(path, KIND, _parsed)


def check_scores_fit(found: HeadScores, model: ModelId, n_head: Sequence[int]) -> None:
    """Raise BadScores where the scores are of another file or of another number of heads."""
    if found.model.sha256 != model.sha256:
        raise BadScores(
            f"the scores are of another model: '{found.model.name}' with sha256 {found.model.sha256[:12]}…, "
            f"not '{model.name}' with {model.sha256[:12]}…; rank this file with epi-surgery rank"
        )
    shape = [len(row) for row in found.scores]
    if shape != list(n_head):
        raise BadScores(
            f"the scores are for {sum(shape)} heads in {len(shape)} layers, the model has {sum(n_head)} in {len(n_head)}"
        )


def _parsed(text: str) -> HeadScores:
    body = body_of(text, KIND)
    criterion, provenance = body.get("criterion"), body.get("provenance", {})
    if not isinstance(criterion, str) or not criterion:
        raise BadScores("'criterion' is missing or not text")
    if not isinstance(provenance, dict):
        raise BadScores("'provenance' is not an object")
    return HeadScores(model_of(body, KIND), criterion, _rows(body.get("scores")), provenance)


def _rows(body: object) -> Scores:
    if not isinstance(body, list) or not body:
        raise BadScores("'scores' is not a list of layers")
    return tuple(_row(row, layer) for layer, row in enumerate(body))


def _row(row: object, layer: int) -> tuple[float, ...]:
    if not isinstance(row, list) or not all(_is_finite(value) for value in row):
        raise BadScores(f"the scores of layer {layer} are not a list of finite numbers")
    return tuple(float(value) for value in row)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
