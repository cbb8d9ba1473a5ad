"""Holds a pruned arm against the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..interval import Interval
from .arm import Arm, decode_j, decode_net_j, decode_rate
from .comparable import comparable
from .comparison import Comparison
from .contrast import Contrast, Spread, contrast, spread
from .covariates import adjusted_saving, drift
from .expectation import BASIS, expectation, expected_shares, saving_of
from .outcome import compensation, outcome
from .pattern import pattern, signals
from .redistribution import layer_changes
from .verdict import Margins


@dataclass(frozen=True, slots=True)
class Scatter:
    """How single runs scatter about their arms, pooled over all arms of a study."""

    gross: Spread
    net: Spread
    rate: Spread


def scatter_of(arms: Sequence[Arm]) -> Scatter:
    """Pool over the arms; where no arm has two runs, the meter's own error of one run stands in, without degrees of freedom."""
    own = [run.decode.budget.own / run.decode.total.value for arm in arms for run in arm.runs if run.decode.budget is not None]
    least = float(np.median(own)) if own else 0.0
    return Scatter(
        gross=spread([arm.values(decode_j) for arm in arms], least),
        net=spread([arm.values(decode_net_j) for arm in arms], least),
        rate=spread([arm.values(decode_rate) for arm in arms]),
    )


def joules_contrast(baseline: Arm, arm: Arm, scatter: Scatter) -> Contrast:
    """Ratio of gross joules per token."""
    common_sd = comparable(baseline, arm).common_sd
    return contrast(arm.values(decode_j), baseline.values(decode_j), scatter.gross, common_sd)


def compare(baseline: Arm, arm: Arm, scatter: Scatter, margins: Margins) -> Comparison:
    """Work out everything about one pair of arms; the caller has seen that nothing forbids it."""
    frame = comparable(baseline, arm)
    joules = joules_contrast(baseline, arm, scatter)
    context = float(np.mean([run.context for run in arm.runs]))
    shares = expected_shares(arm, context) if frame.kin else {}
    expected = tuple(expectation(basis, share, joules) for basis, share in shares.items())
    judged = next((each for each in expected if each.basis == BASIS), None)
    found = signals(baseline, arm, joules, margins)
    return Comparison(
        baseline=baseline.label,
        arm=arm.label,
        simulated=baseline.simulated or arm.simulated,
        saving=saving_of(joules),
        saving_net=_saving_net(baseline, arm, scatter, frame.common_sd),
        speedup=contrast(arm.values(decode_rate), baseline.values(decode_rate), scatter.rate).ratio,
        epi_change=_epi_change(baseline, arm, joules),
        expected=expected,
        basis=BASIS,
        outcome=outcome(judged, joules, margins),
        compensation=compensation(judged, joules, margins),
        pattern=pattern(found),
        signals=tuple(signal for signal, _contrast in found),
        layers=layer_changes(baseline, arm),
        drift=drift(baseline, arm),
        adjusted=adjusted_saving(baseline, arm),
        margins=margins,
        notes=frame.notes,
    )


def _saving_net(baseline: Arm, arm: Arm, scatter: Scatter, common_sd: float) -> Interval:
    before, after = baseline.values(decode_net_j), arm.values(decode_net_j)
    if not before or not after:
        lacking = arm if not after else baseline
        return Interval.missing(lacking.j_per_token_net.reason or "joules net of idle are not above 0")
    return saving_of(contrast(after, before, scatter.net, common_sd))


def _epi_change(baseline: Arm, arm: Arm, joules: Contrast) -> Interval:
    """EPI pruned / baseline - 1: the joules' ratio, and two accuracies as independent shares."""
    before, after = baseline.epi.accuracy, arm.epi.accuracy
    for each in (baseline, arm):
        if not each.epi.epi.known:
            return Interval.missing(each.epi.epi.reason)
    assert before is not None and after is not None
    ratio = before.rate.value / after.rate.value * math.exp(joules.log)
    error = math.hypot(joules.error, *(each.rate.sd / each.rate.value for each in (before, after)))
    return Interval(ratio - 1, ratio * math.exp(-1.96 * error) - 1, ratio * math.exp(1.96 * error) - 1)
