"""Where the metered joules went, part by part, and whether the parts add up."""

from __future__ import annotations

from ...analysis.study.study import Study
from ...analysis.summary import Summary
from ..table import Cell, Column, Table

COLUMNS = (
    Column("run", "run"),
    Column("part", "part"),
    Column("seconds", "s", 2),
    Column("joules", "J", 2),
    Column("share", "of metered %", 2, scale=100),
)


def conservation_table(study: Study) -> Table:
    """One row per run and part, then their sum and what the registers counted."""
    rows = tuple(row for run in study.summaries for row in _rows(run))
    note = "Nothing is rescaled to add up: the difference between sum and metered is a check of health."
    return Table("conservation", "Do the parts add up?", COLUMNS, rows, study.simulated, note)


def _rows(run: Summary) -> list[tuple[Cell, ...]]:
    found, label = run.conservation, run.run.label
    if found.fault:
        return []
    parts: list[tuple[Cell, ...]] = [
        (label, part.name, part.seconds, part.joules, part.joules / found.metered_j) for part in found.parts
    ]
    total: tuple[Cell, ...] = (label, "sum of parts", found.seconds, found.sum_j, found.sum_j / found.metered_j)
    return [*parts, total, (label, "metered", found.seconds, found.metered_j, 1.0)]
