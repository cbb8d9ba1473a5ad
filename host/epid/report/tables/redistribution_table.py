"""Which layers got faster or slower after the cut."""

from __future__ import annotations

from ...analysis.study.comparison import Comparison, LayerChange
from ...analysis.study.study import Study
from ..table import Cell, Column, Table

COLUMNS = (
    Column("arm", "arm"),
    Column("layer", "layer"),
    Column("heads_before", "heads before"),
    Column("heads_after", "after"),
    Column("kv_before", "KV groups before"),
    Column("kv_after", "after"),
    Column("time", "time ×", 4),
    Column("attention", "attention ×", 4),
    Column("ffn", "FFN ×", 4),
    Column("energy", "joules ×", 3),
    Column("attention_energy", "of attention", 3),
    Column("ffn_energy", "of FFN", 3),
    Column("p_adjusted", "p, Holm", 4),
    Column("claim", "claim"),
)


def redistribution_table(study: Study) -> Table:
    """One row per comparison and layer."""
    rows = tuple(_row(comparison, change) for comparison in study.comparisons for change in comparison.layers)
    note = (
        "Ratios cut ÷ baseline of medians per token; of joules, by regression, where runs tell layers or their halves apart. "
        "A claim stands where p, corrected over all layers, is small enough."
    )
    return Table("redistribution", "Redistribution over the layers", COLUMNS, rows, study.simulated, note)


def _row(comparison: Comparison, change: LayerChange) -> tuple[Cell, ...]:
    return (
        comparison.arm,
        change.layer,
        *change.heads,
        *change.kv_heads,
        change.time,
        change.attention,
        change.ffn,
        change.energy,
        change.attention_energy,
        change.ffn_energy,
        change.p_adjusted,
        change.claim or None,
    )
