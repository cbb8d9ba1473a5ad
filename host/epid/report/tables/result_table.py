"""The paper's first table: joules per token, accuracy and EPI of each arm, and whether the rest compensates."""

from __future__ import annotations

import math

from ...analysis.study.arm import Arm
from ...analysis.study.study import Study
from ..table import Cell, Column, Table

COLUMNS = (
    Column("arm", "arm"),
    Column("pruned", "heads pruned %", 1, scale=100),
    Column("target", "layers"),
    Column("runs", "runs"),
    Column("j_per_token", "J/token", 4),
    Column("accuracy", "accuracy %", 1, scale=100),
    Column("epi", "EPI, J/token ÷ accuracy", 4),
    Column("intelligence_per_joule", "intelligence per joule", 3),
    Column("saving", "J/token vs baseline %", 2, scale=100, signed=True),
    Column("epi_change", "EPI vs baseline %", 2, scale=100, signed=True),
    Column("outcome", "compensation?"),
)


def result_table(study: Study) -> Table:
    """One row per arm; the first is the baseline."""
    note = "Medians over the runs of an arm with 95 % intervals. EPI: lower is better."
    rows = tuple(_row(study, arm) for arm in study.arms)
    return Table("results", "Energy per intelligence", COLUMNS, rows, study.simulated, note)


def _row(study: Study, arm: Arm) -> tuple[Cell, ...]:
    found = next((comparison for comparison in study.comparisons if comparison.arm == arm.label), None)
    accuracy = arm.epi.accuracy.rate if arm.epi.accuracy is not None else None
    change = None if found is None else found.saving.scaled(-1)
    verdict = None if found is None else found.outcome.claim
    return (
        arm.label,
        arm.depth if math.isfinite(arm.depth) else None,
        arm.target or None,
        len(arm.runs),
        arm.j_per_token,
        accuracy,
        arm.epi.epi,
        arm.epi.per_joule,
        change,
        None if found is None else found.epi_change,
        verdict if verdict is None else OUTCOMES.get(verdict, verdict),
    )


OUTCOMES = {"A": "no (A, proportional)", "B": "partial (B)", "C": "full (C)"}
"""Words for the outcomes of the paper."""
