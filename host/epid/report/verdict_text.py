"""The first sentence of a report: what this study says, before any table."""

from __future__ import annotations

from ..analysis.interval import Interval
from ..analysis.study import Study


def verdict(study: Study) -> list[str]:
    """One sentence per comparison, or the joules per token of a single arm; simulated meters are named."""
    where = " on a simulated meter" if study.simulated else ""
    baseline = study.arms[0]
    cost = f"{baseline.label} takes {_figure(baseline.j_per_token)} J per generated token{where}"
    first = f"{cost}, at {baseline.tokens_per_s.value:.2f} tokens/s." if baseline.j_per_token.known else f"{cost}: not known."
    return [first, *(_sentence(comparison.arm, comparison.outcome.sentence) for comparison in study.comparisons)]


def _sentence(arm: str, text: str) -> str:
    return text if text.startswith(arm) else f"{arm}: {text}"


def _figure(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})" if interval.known else "an unknown number of"
