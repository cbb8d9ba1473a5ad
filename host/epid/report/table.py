"""A table of figures with their intervals: one description for the terminal, the page and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..analysis.interval import Interval

MISSING = "–"
_EVEN = 0.1
"""Ends of an interval that differ by less than this share are written as one ±."""

Cell = Interval | float | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """`name` for files, `title` for people with its unit. `scale` multiplies what is shown; `signed` shows a plus sign."""

    name: str
    title: str
    digits: int = 3
    scale: float = 1.0
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, one per column. `name` is a file name; `note` says how to read it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    simulated: bool
    note: str = ""

    @property
    def heading(self) -> str:
        """The title, marked where a meter was simulated."""
        return f"{self.title} · simulated meter" if self.simulated else self.title


def shown(column: Column, cell: Cell) -> str:
    """A cell as text: `0.532 ± 0.002`, or `0.532 (0.528 … 0.541)` where the interval lies askew, or a dash."""
    if isinstance(cell, Interval):
        return _interval(column, cell.scaled(column.scale)) if cell.known else MISSING
    if isinstance(cell, float):
        return _number(column, cell * column.scale)
    return MISSING if cell is None else str(cell)


def bare(column: Column, cell: Cell) -> tuple[str, str]:
    """A cell as (figure, its interval), for where the two are set apart."""
    text = shown(column, cell)
    figure, space, rest = text.partition(" ")
    return (figure, rest) if space and isinstance(cell, Interval) else (text, "")


def reason(cell: Cell) -> str:
    """Why a cell has no figure; empty where it has one or nobody said."""
    return cell.reason if isinstance(cell, Interval) and not cell.known else ""


def as_text(table: Table) -> str:
    """A table for the terminal: first column left, the others right."""
    rows = [
        tuple(column.title for column in table.columns),
        *(tuple(shown(column, cell) for column, cell in zip(table.columns, row, strict=True)) for row in table.rows),
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    lines = ["  ".join(_pad(cell, width, at) for at, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([table.heading, "", lines[0], rule, *lines[1:], *([table.note] if table.note else [])])


def reasons(table: Table) -> list[str]:
    """Why figures of a table are missing, each reason once."""
    return list(dict.fromkeys(text for row in table.rows for cell in row if (text := reason(cell))))


def rows_of(table: Table) -> list[dict[str, float | int | str | None]]:
    """Rows for files: an interval becomes three columns (name, name_low, name_high), what is missing becomes None."""
    return [_flat(table.columns, row) | {"simulated": int(table.simulated)} for row in table.rows]


def _flat(columns: Sequence[Column], row: Sequence[Cell]) -> dict[str, float | int | str | None]:
    flat: dict[str, float | int | str | None] = {}
    for column, cell in zip(columns, row, strict=True):
        if isinstance(cell, Interval):
            ends = {column.name: cell.value, f"{column.name}_low": cell.low, f"{column.name}_high": cell.high}
            flat |= {name: value if math.isfinite(value) else None for name, value in ends.items()}
        elif isinstance(cell, float):
            flat[column.name] = cell if math.isfinite(cell) else None
        else:
            flat[column.name] = cell
    return flat


def _interval(column: Column, cell: Interval) -> str:
    up, down = cell.high - cell.value, cell.value - cell.low
    if up == down == 0 or not (math.isfinite(up) or math.isfinite(down)):
        return _number(column, cell.value)
    if math.isfinite(up) and math.isfinite(down) and abs(up - down) <= _EVEN * (up + down):
        return f"{_number(column, cell.value)} ± {(up + down) / 2:.{column.digits}f}"
    return f"{_number(column, cell.value)} ({_number(column, cell.low)} … {_number(column, cell.high)})"


def _number(column: Column, value: float) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if column.signed else ''}.{column.digits}f}"


def _pad(cell: str, width: int, at: int) -> str:
    return cell.ljust(width) if at == 0 else cell.rjust(width)
