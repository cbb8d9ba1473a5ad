"""The report's tables, as rows of text: the terminal and the page show the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..analysis.summary import Phase, Summary

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; `rows` hold one text per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """Return the tables of a report, in reading order; titles say where the meter was simulated."""
    tag = " · simulated meter" if any(summary.simulated for summary in summaries) else ""
    return [_energy(summaries, tag), _trust(summaries, tag), _layers(summaries, tag)]


def _energy(summaries: Sequence[Summary], tag: str) -> Table:
    columns = ("run", "phase", "tokens", "tokens/s", "J/token gross", "J/token net of idle", "vs baseline", "energy J", "idle W")
    rows = []
    for summary in summaries:
        for name, phase, base in (
            ("prefill", summary.prefill, summaries[0].prefill),
            ("decode", summary.decode, summaries[0].decode),
        ):
            rows.append(_energy_row(summary, name, phase, None if summary is summaries[0] else base))
    note = "± is the worst case of the meter's step and the clock's bound; the meter's gain is not in it."
    return Table("Joules per token" + tag, columns, tuple(rows), note)


def _energy_row(summary: Summary, name: str, phase: Phase, base: Phase | None) -> tuple[str, ...]:
    change = MISSING if base is None else percent(phase.j_per_token / base.j_per_token - 1)
    return (
        summary.run.label,
        name,
        str(phase.tokens),
        number(phase.tokens_per_s, 2),
        within(phase.j_per_token, phase.j_per_token_within),
        number(phase.j_per_token_net, 3),
        change,
        within(phase.energy_j, phase.within_j, 1),
        number(summary.idle.watts, 3),
    )


def _trust(summaries: Sequence[Summary], tag: str) -> Table:
    columns = ("run", "samples", "frames lost", "spans", "spans dropped", "worst alignment bound", "registers ÷ ∫P")
    rows = tuple(
        (
            summary.run.label,
            str(len(summary.track)),
            str(summary.lost_frames),
            str(len(summary.spans.columns["kind"])),
            str(summary.spans.dropped),
            f"±{summary.alignment_bound_us:.0f} µs",
            number(summary.chains_ratio, 4),
        )
        for summary in summaries
    )
    return Table("What the figures rest on" + tag, columns, rows)


def _layers(summaries: Sequence[Summary], tag: str) -> Table:
    columns = ["layer"]
    for summary in summaries:
        columns += [f"{summary.run.label} attention µs", "FFN µs", "mJ/token by time share"]
    numbers = sorted({layer.layer for summary in summaries for layer in summary.layers})
    rows = [_layer_row(number_, summaries) for number_ in numbers]
    note = (
        "Medians over all generated tokens. Joules by time share take every moment of decoding to draw the same power: "
        "they say where the time went, not what a layer would save."
    )
    return Table("Time per layer" + tag, tuple(columns), tuple(rows), note)


def _layer_row(layer: int, summaries: Sequence[Summary]) -> tuple[str, ...]:
    cells = [str(layer)]
    for summary in summaries:
        found = next((item for item in summary.layers if item.layer == layer), None)
        if found is None:
            cells += [MISSING] * 3
        else:
            cells += [number(found.attention_us, 1), number(found.ffn_us, 1), number(found.j_per_token * 1e3, 2)]
    return tuple(cells)


def as_text(table: Table) -> str:
    """Return a table for the terminal: first column left, the others right."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    lines = ["  ".join(_pad(cell, width, at) for at, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([table.title, "", lines[0], rule, *lines[1:], *([table.note] if table.note else [])])


def number(value: float, digits: int) -> str:
    """A figure with so many digits, or a dash where it is missing."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def within(value: float, bound: float, digits: int = 3) -> str:
    """A figure and its worst-case error, or a dash."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f} ± {bound:.{digits}f}"


def percent(share: float) -> str:
    """A relative change with its sign, or a dash."""
    return MISSING if math.isnan(share) else f"{share:+.1%}"


def _pad(cell: str, width: int, at: int) -> str:
    return cell.ljust(width) if at == 0 else cell.rjust(width)
