"""What one query head and one KV group cost per token, from arms that removed different numbers of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from ..interval import Interval
from .arm import Arm, decode_j

_CONDITION = 15.0
"""Above this condition of the scaled design, query heads and KV groups were always removed together."""

_TOO_FEW = "needs the baseline and cuts with at least three runs more than there are costs to tell"
_TOGETHER = "no cuts here remove query heads and KV groups in different proportions, so their costs cannot be told apart"


@dataclass(frozen=True, slots=True)
class GroupCost:
    """Joules per token that one query head and one KV head (a whole GQA group's keys and values) cost; missing with a reason
    where the arms do not tell the two apart."""

    per_query_head: Interval
    per_kv_group: Interval
    arms: int

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "j_per_token_per_query_head": self.per_query_head.to_map(),
            "j_per_token_per_kv_group": self.per_kv_group.to_map(),
            "arms": self.arms,
        }


def group_cost(baseline: Arm, cuts: Sequence[Arm]) -> GroupCost:
    """Regress the runs' joules per token on the heads of both kinds that are gone; costs are what removing one saves."""
    rows = [(*_gone(arm), decode_j(run)) for arm in (baseline, *cuts) for run in arm.runs]
    gone, joules = np.array([row[:2] for row in rows], dtype=float), np.array([row[2] for row in rows])
    if not cuts or len(rows) < 6:
        return GroupCost(Interval.missing(_TOO_FEW), Interval.missing(_TOO_FEW), len(cuts))
    only_query = not gone[:, 1].any()
    costs = _slopes(gone[:, :1] if only_query else gone, joules)
    if only_query:
        return GroupCost(costs[0], Interval.missing("no cut here removes a whole KV group"), len(cuts))
    return GroupCost(costs[0], costs[1], len(cuts))


def _gone(arm: Arm) -> tuple[float, float]:
    plan = arm.plan
    if plan is None:
        return 0.0, 0.0
    return plan.query_heads.before - plan.query_heads.after, plan.kv_heads.before - plan.kv_heads.after


def _slopes(gone: np.ndarray, joules: np.ndarray) -> list[Interval]:
    design = np.column_stack([np.ones(len(joules)), -gone])
    scaled = design / np.maximum(np.linalg.norm(design, axis=0), 1e-12)
    if np.linalg.cond(scaled) > _CONDITION or not np.isfinite(joules).all():
        return [Interval.missing(_TOGETHER)] * gone.shape[1]
    freedom = len(joules) - design.shape[1]
    found, *_rest = np.linalg.lstsq(design, joules, rcond=None)
    residual = joules - design @ found
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * float(residual @ residual) / freedom)
    half = float(student.isf(0.025, freedom)) * errors
    return [Interval(float(v), float(v - h), float(v + h)) for v, h in zip(found[1:], half[1:], strict=True)]
