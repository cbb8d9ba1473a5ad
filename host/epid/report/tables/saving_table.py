"""The paper's second table: what a cut should save, what it saves, and the gap between."""

from __future__ import annotations

from ...analysis.study.comparison import Comparison
from ...analysis.study.study import Study
from ..table import Cell, Column, Table

BASES = ("heads", "flops", "bytes")
COLUMNS = (
    Column("arm", "arm"),
    Column("heads_removed", "heads gone"),
    Column("expected_heads", "expected by heads %", 2, scale=100, signed=True),
    Column("expected_flops", "by FLOPs %", 2, scale=100, signed=True),
    Column("expected_bytes", "by bytes %", 2, scale=100, signed=True),
    Column("measured", "measured Δ %", 2, scale=100, signed=True),
    Column("measured_net", "net of idle Δ %", 2, scale=100, signed=True),
    Column("gap", "gap, points", 2, scale=100, signed=True),
    Column("kappa", "κ", 3),
    Column("pattern", "pattern"),
    Column("outcome", "outcome"),
    Column("more_repeats", "more repeats"),
)


def saving_table(study: Study) -> Table:
    """One row per comparison."""
    rows = tuple(_row(study, comparison) for comparison in study.comparisons)
    basis = study.comparisons[0].basis if study.comparisons else ""
    note = (
        f"Changes of J/token. Gap and κ against what the {basis} expect: κ = 1 − measured ÷ expected saving is 0 where the whole "
        "saving arrives and 1 where nothing is saved. Outcomes: A proportional, B partly compensated, C fully compensated."
    )
    return Table("savings", "Expected against measured energy", COLUMNS, rows, study.simulated, note)


def _row(study: Study, comparison: Comparison) -> tuple[Cell, ...]:
    expected = {item.basis: item for item in comparison.expected}
    judged = expected.get(comparison.basis)
    arm = next(arm for arm in study.arms if arm.label == comparison.arm)
    shares = [-expected[basis].share if basis in expected else None for basis in BASES]
    return (
        comparison.arm,
        arm.heads_removed,
        *shares,
        comparison.saving.scaled(-1),
        comparison.saving_net.scaled(-1),
        judged.gap if judged else None,
        comparison.kappa,
        comparison.pattern.claim,
        comparison.outcome.claim,
        comparison.outcome.more_repeats,
    )
