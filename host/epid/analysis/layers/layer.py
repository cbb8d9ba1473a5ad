"""One layer while tokens were generated: its time, and two estimates of its joules beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..interval import Interval

BY_TIME = (
    "share of the token's time × metered joules per token: every moment of decoding is taken to draw the same power, "
    "which this run does not show"
)
BY_REGRESSION = "regression of metered energy on layer times, told apart by randomly repeated layers alone"
BY_PROBE = "difference between models in which this layer stands several times and the plain one"
NOT_IDENTIFIABLE = "not identifiable from this run; record with layer repetition"
HALVES_NOT_IDENTIFIABLE = "a repeated layer repeats both halves, so only their sum was measured; record with repeated halves"
TOO_SELDOM = "repeated too seldom to be told apart; record more tokens, or repeat each time more often"


@dataclass(frozen=True, slots=True)
class Layer:
    """Medians over all generated tokens, microseconds; NaN for a half that the layer lacks.

    `by_time`: gross joules per token by share of the time. `by_regression`: the same by regression or probe models, missing with
    its reason where the design of the run does not allow it; `method` says which. `attention`, `ffn`: the halves of it.
    `repeats`: extra computations in the run. `resolution`: standard error that the design promises, over the mean layer's joules.
    """

    layer: int
    attention_us: float
    ffn_us: float
    whole_us: float
    by_time: Interval
    by_regression: Interval
    attention: Interval
    ffn: Interval
    repeats: int
    resolution: float
    method: str = BY_REGRESSION

    @property
    def j_per_token(self) -> float:
        """Value of `by_time`."""
        return self.by_time.value

    @property
    def best(self) -> Interval:
        """The measured estimate where there is one, else the time share."""
        return self.by_regression if self.by_regression.known else self.by_time

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain = ("layer", "attention_us", "ffn_us", "whole_us", "repeats", "resolution", "j_per_token")
        intervals = ("by_time", "by_regression", "attention", "ffn")
        return (
            {name: getattr(self, name) for name in plain}
            | {name: getattr(self, name).to_map() for name in intervals}
            | {"method": self.method if self.by_regression.known else None}
        )
