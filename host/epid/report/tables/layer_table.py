"""Time and joules of every layer of every run, both estimates beside each other."""

from __future__ import annotations

from ...analysis.layers.layer import Layer
from ...analysis.study.study import Study
from ...analysis.summary import Summary
from ..table import Cell, Column, Table

COLUMNS = (
    Column("run", "run"),
    Column("layer", "layer"),
    Column("attention_us", "attention µs", 1),
    Column("ffn_us", "FFN µs", 1),
    Column("whole_us", "layer µs", 1),
    Column("by_time_j", "mJ/token by time share", 2, scale=1e3),
    Column("by_regression_j", "mJ/token by regression", 2, scale=1e3),
    Column("attention_j", "of it attention", 2, scale=1e3),
    Column("ffn_j", "of it FFN", 2, scale=1e3),
    Column("repeats", "repeats"),
    Column("resolution", "resolution %", 1, scale=100),
)


def layer_table(study: Study) -> Table:
    """One row per run and layer."""
    rows = tuple(_row(run, layer) for run in study.summaries for layer in run.layers)
    note = (
        "Medians over all generated tokens. Joules by time share take every moment of decoding to draw the same power: they "
        "say where the time went. Joules by regression were measured by repeating layers; without that no layer is told apart."
    )
    return Table("layers", "Time and joules per layer", COLUMNS, rows, study.simulated, note)


def _row(run: Summary, layer: Layer) -> tuple[Cell, ...]:
    return (
        run.run.label,
        layer.layer,
        layer.attention_us,
        layer.ffn_us,
        layer.whole_us,
        layer.by_time,
        layer.by_regression,
        layer.attention,
        layer.ffn,
        layer.repeats,
        layer.resolution,
    )
