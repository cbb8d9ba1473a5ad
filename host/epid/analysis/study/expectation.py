"""What a cut should save: by share of heads, by the work it truly removes, and by what the heads' own layers cost before."""

from __future__ import annotations

import math

from ..interval import Interval
from .arm import Arm
from .comparison import Expectation
from .contrast import Contrast
from .cut_plan import Count

BASIS = "bytes"
"""Decoding at batch 1 waits for memory, so the bytes read per token are the work; verdicts rest on this one."""

_CACHE_BYTES = 2


def expected_shares(arm: Arm, context: float) -> dict[str, float]:
    """Share of the baseline's joules per token that the cut should save, by basis; empty where the arm carries no plan.

    heads: query heads removed over all. flops, bytes: of one token at `context` tokens in the cache, from the plan's tensors.
    """
    plan = arm.plan
    if plan is None:
        return {}
    width = (context - plan.context) * plan.head_width if math.isfinite(context) else 0.0
    return {
        "heads": plan.query_heads.removed_share,
        "flops": _grown(plan.flops, plan.query_heads, 2 * width).removed_share,
        "bytes": _grown(plan.read_bytes, plan.kv_heads, _CACHE_BYTES * width).removed_share,
    }


def expectation(basis: str, share: float, joules: Contrast) -> Expectation:
    """Hold a measured ratio of joules per token against one expected saving."""
    saving = saving_of(joules)
    gap = Interval(share - saving.value, share - saving.high, share - saving.low)
    if share <= 0:
        return Expectation(basis, share, gap, Interval.missing(f"the cut removes no {basis}"))
    kappa = Interval(1 - saving.value / share, 1 - saving.high / share, 1 - saving.low / share)
    return Expectation(basis, share, gap, kappa)


def saving_of(joules: Contrast) -> Interval:
    """1 - ratio."""
    ratio = joules.ratio
    return Interval(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def _grown(count: Count, heads: Count, each: float) -> Count:
    """A cost per token at another context: each head costs `each` more."""
    return Count(count.before + each * heads.before, count.after + each * heads.after)
