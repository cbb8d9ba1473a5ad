"""Joules by request, phase and token of every run."""

from __future__ import annotations

from ...analysis.study.study import Study
from ...analysis.summary import Summary
from ..table import Cell, Column, Table

KINDS = ("request", "prefill", "decode", "token")
COLUMNS = (
    Column("run", "run"),
    Column("kind", "phase"),
    Column("tokens", "tokens"),
    Column("tokens_per_s", "tokens/s", 2),
    Column("j_per_token", "J/token gross", 4),
    Column("j_per_token_net", "J/token net of idle", 4),
    Column("median_j", "J, median span", 3),
    Column("total_j", "J in all", 1),
    Column("watts", "W", 3),
    Column("idle_w", "idle W", 3),
)


def phase_table(study: Study) -> Table:
    """One row per run and kind of span."""
    rows = tuple(_row(run, kind) for run in study.summaries for kind in KINDS if getattr(run, kind).spans)
    note = "Intervals carry gain, offset, register step, clock bound, lag and gaps; net is above the idle of the same run."
    return Table("phases", "Joules by phase", COLUMNS, rows, study.simulated, note)


def _row(run: Summary, kind: str) -> tuple[Cell, ...]:
    found = getattr(run, kind)
    return (
        run.run.label,
        kind,
        found.tokens,
        found.tokens_per_s,
        found.per_token,
        found.per_token_net,
        found.median,
        found.total,
        found.watts,
        run.idle.interval,
    )
