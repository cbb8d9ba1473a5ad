"""What the analysis needs to know of a cut: the plan that epi-surgery wrote into the model file and hookrun into the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Count:
    """A quantity before and after the cut."""

    before: float
    after: float

    @property
    def removed_share(self) -> float:
        """Removed / before; 0 for a quantity that the model does not have."""
        return (self.before - self.after) / self.before if self.before else 0.0


@dataclass(frozen=True, slots=True)
class CutPlan:
    """`n_head`: query heads of each layer before. `flops`, `read_bytes`: of one token at `context` tokens in the cache, each
    of which takes `head_width` values per head, keys and values together."""

    n_head: tuple[int, ...]
    head_width: int
    query_heads: Count
    kv_heads: Count
    flops: Count
    read_bytes: Count
    context: int
    target: str


def cut_plan(model: Mapping[str, Any]) -> CutPlan | None:
    """Return the plan in a run's model map; None where there is none, or one that another format wrote."""
    plan = model.get("plan")
    try:
        architecture, shares, per_token = (plan[name] for name in ("architecture", "shares", "per_token"))  # type: ignore[index]
        return CutPlan(
            n_head=tuple(int(heads) for heads in architecture["n_head"]),
            head_width=int(architecture["head_dim_k"]) + int(architecture["head_dim_v"]),
            query_heads=_count(shares["query_heads"]),
            kv_heads=_count(shares["kv_heads"]),
            flops=_count(per_token["flops"]),
            read_bytes=_count(per_token["read_bytes"]),
            context=int(per_token["context"]),
            target=str(plan.get("aim", {}).get("target", "")),  # type: ignore[union-attr]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _count(section: Mapping[str, Any]) -> Count:
    return Count(float(section["before"]), float(section["after"]))
