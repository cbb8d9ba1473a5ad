"""What an arm takes on average: the figures of its truth without jitter, wandering or spread from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epi_tools.simrun.experiment import Order, lay_out
from epi_tools.simrun.outcome import outcome
from epi_tools.simrun.recorded import Recorded
from epi_tools.simrun.truth import Truth

_QUIET_TIMING = {"jitter": 0.0, "token_jitter": 0.0, "run_spread": 0.0}
_QUIET_POWER = {"noise_w": 0.0, "run_spread": 0.0}


def expected(truth: Truth, seed: int, recorded: Recorded | None = None) -> dict[str, Any]:
    """Return joules per token (gross, net of idle), EPI and what the cut removed, for truth.json."""
    quiet = truth.changed(timing=_QUIET_TIMING, power=_QUIET_POWER)
    laid_out, power = lay_out(Order(quiet, 0, 0), seed, "", recorded)
    found = outcome(laid_out, power, 1.0)
    plan = laid_out.model.get("plan")
    return {
        "j_per_token": found["decode"]["j_per_token"],
        "j_per_token_net": found["decode"]["j_per_token_net"],
        "accuracy": found["accuracy"],
        "epi": found["epi"],
        "removed_shares": removed_shares(plan) if plan else None,
    }


def removed_shares(plan: dict[str, Any]) -> dict[str, float]:
    """Shares of heads, operations and bytes that a plan takes away."""
    return {
        "heads": plan["shares"]["query_heads"]["removed_share"],
        "flops": plan["per_token"]["flops"]["removed_share"],
        "bytes": plan["per_token"]["read_bytes"]["removed_share"],
    }


def arms_of(truths: Sequence[Truth], seed: int, recorded: Sequence[Recorded | None]) -> dict[str, dict[str, Any]]:
    """What each arm takes; the savings of the others are relative to the first."""
    arms = {truth.arm: expected(truth, seed, spans) for truth, spans in zip(truths, recorded, strict=True)}
    first = next(iter(arms.values()))
    for found in list(arms.values())[1:]:
        saving = 1 - found["j_per_token"] / first["j_per_token"]
        shares = found["removed_shares"] or {}
        found["saving"] = saving
        found["kappa"] = {basis: 1 - saving / share for basis, share in shares.items() if share}
    return arms
