"""How often a model answers right: from the evaluation that travels with the model file, or from a person's own figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .interval import SIGMAS, Interval


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of `n` questions answered right, `rate` with its Wilson interval. `source` names the task, or who said so."""

    rate: Interval
    correct: float
    n: int
    source: str

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"rate": self.rate.to_map(), "correct": self.correct, "n": self.n, "source": self.source}


def wilson(correct: float, n: int) -> Interval:
    """95 % interval of a binomial share (Wilson 1927, JASA 22, 209)."""
    share, spread = correct / n, SIGMAS**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = SIGMAS / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def accuracy_of(model: Mapping[str, Any]) -> tuple[Accuracy | None, str]:
    """Return the accuracy in a run's model map, and a sentence where it is there and cannot be used."""
    found = model.get("eval")
    if not isinstance(found, Mapping):
        return None, ""
    if model.get("eval_matches") is False:
        return None, "the evaluation beside the model was made with another file (its sha256 differs); run epi-surgery eval again"
    scores = found.get("accuracy")
    if not isinstance(scores, Mapping):
        return None, "the evaluation beside the model holds no accuracy; run epi-surgery eval with a task"
    correct, n = scores.get("correct"), scores.get("n")
    if not (isinstance(correct, int) and isinstance(n, int) and 0 <= correct <= n and n > 0):
        return None, "the accuracy beside the model is damaged: its 'correct' and 'n' are no counts"
    return Accuracy(wilson(correct, n), correct, n, str(scores.get("task", "eval"))), ""


def parse_accuracy(text: str) -> Accuracy:
    """Read `VALUE:N`, a share from 0 to 1 and the number of questions; UsageError where it is none."""
    value, _, count = text.partition(":")
    try:
        share, n = float(value), int(count)
    except ValueError:
        share, n = math.nan, 0
    if not (0 <= share <= 1 and n > 0):
        raise UsageError(f"--accuracy {text} is not VALUE:N, a share from 0 to 1 and the number of questions, such as 0.731:1340")
    return Accuracy(wilson(share * n, n), share * n, n, "given on the command line")
