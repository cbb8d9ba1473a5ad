"""What the figures of each run rest on."""

from __future__ import annotations

from ...analysis.interval import SIGMAS
from ...analysis.study.study import Study
from ...analysis.summary import Summary
from ..table import Cell, Column, Table

COLUMNS = (
    Column("run", "run"),
    Column("samples", "samples"),
    Column("lost_frames", "frames lost"),
    Column("spans", "spans"),
    Column("dropped_spans", "spans dropped"),
    Column("alignment_us", "alignment bound µs", 0),
    Column("gain_within", "gain ± %", 3, scale=100),
    Column("lag_ms", "averaging lag ms", 1),
    Column("lag_within_ms", "± ms", 1),
    Column("mismatch", "parts ÷ metered − 1, %", 3, scale=100, signed=True),
    Column("chains_ratio", "registers ÷ ∫P", 4),
    Column("temperature_c", "°C", 1),
)


def trust_table(study: Study) -> Table:
    """One row per run."""
    return Table("trust", "What the figures rest on", COLUMNS, tuple(_row(run) for run in study.summaries), study.simulated)


def _row(run: Summary) -> tuple[Cell, ...]:
    lag_s = None if run.lag is None else run.lag.delay_s + run.lag.window_s / 2
    return (
        run.run.label,
        len(run.track),
        run.lost_frames,
        len(run.spans.columns["kind"]),
        run.spans.dropped,
        run.alignment_bound_us,
        SIGMAS * run.gain.sd,
        None if lag_s is None else 1e3 * lag_s,
        None if run.lag is None else 1e3 * run.lag.within_s,
        run.conservation.mismatch,
        run.chains_ratio,
        run.temperature_c,
    )
