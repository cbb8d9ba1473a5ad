"""The first sentences of a report: what this study says, before any table."""

from __future__ import annotations

from ..analysis.interval import Interval
from ..analysis.study.study import Study

OUTCOMES = {
    "A": "the energy drops in proportion to the work removed (A)",
    "B": "a part of the saving is compensated (B)",
    "C": "the rest compensates fully (C)",
    "undecided": "not decided by these runs",
    "impossible": "cannot be judged",
}
"""What the claims of an outcome mean, for a line about several cuts."""

_SENTENCES = 6
"""So many cuts get a sentence each; more are gathered by their outcome."""


def verdict(study: Study) -> list[str]:
    """What the baseline takes, then a sentence per comparison or per outcome; a simulated meter is named."""
    where = " on a simulated meter" if study.simulated else ""
    baseline = study.arms[0]
    cost = f"{baseline.label} takes {_figure(baseline.j_per_token)} J per generated token{where}"
    first = f"{cost}, at {baseline.tokens_per_s.value:.2f} tokens/s." if baseline.j_per_token.known else f"{cost}: not known."
    if len(study.comparisons) > _SENTENCES:
        return [first, *_by_outcome(study)]
    return [first, *(_sentence(comparison.arm, comparison.outcome.sentence) for comparison in study.comparisons)]


def _by_outcome(study: Study) -> list[str]:
    lines = []
    for claim, meaning in OUTCOMES.items():
        arms = [comparison.arm for comparison in study.comparisons if comparison.outcome.claim == claim]
        if arms:
            lines.append(f"{len(arms)} of {len(study.comparisons)} cuts, {meaning}: {', '.join(arms)}.")
    return lines


def _sentence(arm: str, text: str) -> str:
    return text if text.startswith(arm) else f"{arm}: {text}"


def _figure(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})" if interval.known else "an unknown number of"
