"""How many runs an experiment needs, and in which order: so that noise and drift are beaten before the meter is switched on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from scipy.stats import chi2, nct
from scipy.stats import t as student

from ...errors import UsageError
from ..summary import Summary
from .arm import arms_of, decode_j
from .contrast import spread

LAYOUTS = ("abba", "blocks")
FEWEST = 3
"""Runs per arm that any experiment makes: the median of three survives one bad run."""

MOST = 10_000
ASSURANCE = 0.8
"""A scatter that earlier runs showed is taken as large as it is with this probability at most: few runs show it too small."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative standard deviation of one run's joules per token, `cv`, and `used`, what the plan reckons with; by `source`."""

    cv: float
    used: float
    source: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """`repeats` of every arm show `effect` (relative change of joules per token) with `power` at two-sided error `alpha`; `order`
    is what to run, in blocks that hold every arm once. `minutes`: per arm, NaN where the length of a run was not told."""

    arms: tuple[str, ...]
    effect: float
    alpha: float
    power: float
    noise: Noise
    repeats: int
    order: tuple[str, ...]
    layout: str
    minutes: float

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "arms": list(self.arms),
            "effect": self.effect,
            "alpha": self.alpha,
            "power": self.power,
            "noise": {"cv": self.noise.cv, "used": self.noise.used, "source": self.noise.source},
            "repeats": self.repeats,
            "layout": self.layout,
            "order": list(self.order),
            "minutes_per_arm": self.minutes if math.isfinite(self.minutes) else None,
        }


def power_of(repeats: int, effect: float, cv: float, alpha: float) -> float:
    """Power of the two-sided t test on logarithms, `repeats` runs in each of two arms (noncentral t distribution)."""
    freedom, shift = 2 * repeats - 2, abs(math.log1p(-effect)) / (cv * math.sqrt(2 / repeats))
    critical = float(student.isf(alpha / 2, freedom))
    if shift > critical + 20:  # beyond what the distribution's series can sum
        return 1.0
    wrong_side = float(nct.cdf(-critical, freedom, shift)) if shift < 4 else 0.0
    return float(nct.sf(critical, freedom, shift)) + wrong_side


def repeats_needed(effect: float, cv: float, alpha: float, power: float) -> int:
    """Least runs per arm that reach the power, at least FEWEST; UsageError where not even MOST would."""
    low, high = FEWEST - 1, FEWEST
    while power_of(high, effect, cv, alpha) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise UsageError(
                f"an effect of {effect:.2%} is too small for a scatter of {cv:.2%} between runs: more than {MOST} runs per arm "
                "would be needed; make runs longer, or ask for a larger effect"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle, effect, cv, alpha) >= power else (middle, high)
    return high


def order_of(arms: Sequence[str], repeats: int, layout: str, seed: int) -> tuple[str, ...]:
    """Blocks with every arm once. abba: every second block backwards, so that a steady drift meets all arms alike; blocks: each
    block shuffled, against anything that comes and goes with a period."""
    rng, out = Random(seed), []
    for block in range(repeats):
        inner = list(arms)
        if layout == "blocks":
            rng.shuffle(inner)
        elif block % 2:
            inner.reverse()
        out += inner
    return tuple(out)


def plan(
    arms: Sequence[str], effect: float, noise: Noise, alpha: float, power: float, layout: str, seed: int, run_minutes: float
) -> Experiment:
    """Work out an experiment. ABBA needs an even number of repeats to be balanced, and gets one."""
    repeats = repeats_needed(effect, noise.used, alpha, power)
    if layout == "abba":
        repeats += repeats % 2
    reached = power_of(repeats, effect, noise.used, alpha)
    order = order_of(arms, repeats, layout, seed)
    return Experiment(tuple(arms), effect, alpha, reached, noise, repeats, order, layout, repeats * run_minutes)


def noise_of(summaries: Sequence[Summary]) -> Noise:
    """Scatter between runs of equal models; of one run only, the scatter of its requests stands in.

    UsageError where neither can be told.
    """
    arms = arms_of(summaries)
    scatter = spread([arm.values(decode_j) for arm in arms])
    if scatter.freedom:
        used = scatter.cv * math.sqrt(scatter.freedom / float(chi2.ppf(1 - ASSURANCE, scatter.freedom)))
        return Noise(scatter.cv, used, f"{len(summaries)} earlier runs, {scatter.freedom} degrees of freedom")
    return _of_requests(summaries[0])


def _of_requests(summary: Summary) -> Noise:
    decode = summary.decode
    if decode.spans < FEWEST or not decode.per_token.known:
        raise UsageError(
            f"{summary.run.label} is one run with {decode.spans} metered requests: that shows no scatter; give two or more runs "
            "of the same model, or --cv"
        )
    cv = decode.scatter / math.sqrt(decode.spans)
    used = cv * math.sqrt((decode.spans - 1) / float(chi2.ppf(1 - ASSURANCE, decode.spans - 1)))
    source = f"{decode.spans} requests of one run; how runs differ from each other is not in it"
    return Noise(cv, used, source)
