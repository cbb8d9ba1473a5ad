"""The five questions of the research plan, each with the figure and the test that answer it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from ..interval import Interval
from .arm import Arm
from .comparison import Comparison
from .threshold import Threshold
from .verdict import ALPHA

QUESTIONS = {
    "RQ1": "Does removing attention heads produce proportional, partial, or negligible energy savings?",
    "RQ2": "Can compensation be detected in the power trace: does power hold while heads are removed?",
    "RQ3": "Do specific layers show more compensation than others?",
    "RQ4": "Is there a pruning threshold below which compensation dominates?",
    "RQ5": "Does the depth that is best by EPI differ from the one that is best by accuracy?",
}
_NO_CUT = "not answered: no cut of the baseline is among the runs"


@dataclass(frozen=True, slots=True)
class Answer:
    """`name` is RQ1 to RQ5. `figures`: (what, text) pairs that the answer rests on; `test` names the test behind it."""

    name: str
    question: str
    answer: str
    figures: tuple[tuple[str, str], ...]
    test: str
    decided: bool

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain = {name: getattr(self, name) for name in ("name", "question", "answer", "test", "decided")}
        return plain | {"figures": [list(pair) for pair in self.figures]}


def answers(arms: Sequence[Arm], comparisons: Sequence[Comparison], threshold: Threshold) -> tuple[Answer, ...]:
    """Answer all five, or say what is missing."""
    if not comparisons:
        return tuple(_answer(name, _NO_CUT, (), "none", False) for name in QUESTIONS)
    return (
        _savings(comparisons),
        _trace(comparisons),
        _layers(comparisons),
        _answer("RQ4", threshold.sentence, (), "one-sided t tests, Holm over cuts", any(p.real for p in threshold.points)),
        _best_depth(arms),
    )


def _answer(name: str, text: str, figures: Sequence[tuple[str, str]], test: str, decided: bool) -> Answer:
    return Answer(name, QUESTIONS[name], text, tuple(figures), test, decided)


def _savings(comparisons: Sequence[Comparison]) -> Answer:
    text = "; ".join(f"{each.arm}: {each.outcome.sentence}" for each in comparisons)
    figures = [(f"{each.arm}: saving", _percent(each.saving)) for each in comparisons]
    figures += [(f"{each.arm}: kappa on {each.basis}", _plain(each.kappa)) for each in comparisons]
    return _answer("RQ1", text, figures, comparisons[0].outcome.test, all(each.outcome.decided for each in comparisons))


def _trace(comparisons: Sequence[Comparison]) -> Answer:
    watts = [(each.arm, signal) for each in comparisons for signal in each.signals if signal.name == "watts while decoding"]
    text = "; ".join(
        f"{each.arm}: compensation {each.compensation.claim}, power is {signal.claim}"
        for each, (_arm, signal) in zip(comparisons, watts, strict=True)
    )
    figures = [(f"{arm}: watts, cut / baseline", _plain(signal.ratio, 4)) for arm, signal in watts]
    decided = all(each.compensation.decided for each in comparisons)
    return _answer("RQ2", text, figures, f"{comparisons[0].compensation.test}; {comparisons[0].pattern.test}", decided)


def _layers(comparisons: Sequence[Comparison]) -> Answer:
    slower = [(each.arm, layer) for each in comparisons for layer in each.layers if layer.claim == "slower"]
    tested = any(math.isfinite(layer.time.high) for each in comparisons for layer in each.layers)
    shown = ", ".join(f"layer {layer.layer} of {arm}" for arm, layer in slower)
    text = f"slower than in the baseline: {shown}" if slower else "no layer is surely slower than in the baseline"
    figures = [(f"{arm}: time of layer {layer.layer}, cut / baseline", _plain(layer.time, 4)) for arm, layer in slower]
    test = f"t tests of log median times, Holm over the layers of an arm, alpha {ALPHA:g}"
    return _answer("RQ3", text if tested else "not answered: it takes at least 2 runs of each model", figures, test, tested)


def _best_depth(arms: Sequence[Arm]) -> Answer:
    test = f"two-sided z test of the logarithm of EPI at the two depths, alpha {ALPHA:g}"
    known = [arm for arm in arms if arm.epi.epi.known]
    if len(known) < 2:
        return _answer("RQ5", "not answered: it takes the accuracy of at least two of the models", (), test, False)
    by_epi = min(known, key=lambda arm: arm.epi.epi.value)
    by_accuracy = max(known, key=lambda arm: arm.epi.accuracy.rate.value if arm.epi.accuracy else -1.0)
    figures = [(f"EPI of {arm.label}", _plain(arm.epi.epi, 4)) for arm in (by_epi, by_accuracy)]
    if by_epi is by_accuracy:
        return _answer("RQ5", f"no: {by_epi.label} is best by both", figures[:1], test, True)
    p = _p_equal(by_epi.epi.epi, by_accuracy.epi.epi)
    best = f"{by_epi.label} is best by EPI, {by_accuracy.label} by accuracy (p {p:.3g} that their EPI is the same)"
    return _answer("RQ5", f"yes: {best}" if p < ALPHA else f"undecided: {best}", figures, test, p < ALPHA)


def _p_equal(one: Interval, other: Interval) -> float:
    errors = [math.log(each.high / each.low) / (2 * 1.96) if each.low > 0 else math.inf for each in (one, other)]
    return 2 * float(norm.sf(abs(math.log(one.value / other.value)) / math.hypot(*errors)))


def _percent(figure: Interval) -> str:
    return f"{figure.value:.2%} [{figure.low:.2%}, {figure.high:.2%}]" if figure.known else f"– ({figure.reason})"


def _plain(figure: Interval, digits: int = 2) -> str:
    if not figure.known:
        return f"– ({figure.reason})"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
