"""Energy per intelligence: joules per token over accuracy; lower is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .accuracy import Accuracy
from .interval import Interval

NO_ACCURACY = "no accuracy is known for this model; run epi-surgery eval beside it, or give --accuracy"
NOTHING_RIGHT = "the model answered nothing right, so no joules per right answer exist"


@dataclass(frozen=True, slots=True)
class Epi:
    """`epi` in joules per token and unit of accuracy; `per_joule` is its inverse, intelligence per joule."""

    epi: Interval
    per_joule: Interval
    accuracy: Accuracy | None

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        accuracy = self.accuracy.to_map() if self.accuracy else None
        return {"epi": self.epi.to_map(), "intelligence_per_joule": self.per_joule.to_map(), "accuracy": accuracy}


def epi_of(per_token: Interval, accuracy: Accuracy | None) -> Epi:
    """Divide joules per token by accuracy; the errors of the two are independent."""
    if accuracy is None:
        return _missing(NO_ACCURACY, None)
    if not per_token.known:
        return _missing(per_token.reason, accuracy)
    if accuracy.rate.value <= 0:
        return _missing(NOTHING_RIGHT, accuracy)
    epi = _quotient(per_token, accuracy.rate)
    return Epi(epi, Interval(1 / epi.value, _inverse(epi.high), _inverse(epi.low)), accuracy)


def _quotient(over: Interval, under: Interval) -> Interval:
    """Each end of the quotient is as far off as both errors together, taken on a log scale where ratios add."""
    value = over.value / under.value
    down = math.hypot(_log(over.value, over.low), _log(under.high, under.value))
    up = math.hypot(_log(over.high, over.value), _log(under.value, under.low))
    return Interval(value, value * math.exp(-down), value * math.exp(up))


def _log(larger: float, smaller: float) -> float:
    return math.log(larger / smaller) if smaller > 0 else math.inf


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else math.inf


def _missing(reason: str, accuracy: Accuracy | None) -> Epi:
    return Epi(Interval.missing(reason), Interval.missing(reason), accuracy)
