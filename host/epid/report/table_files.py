"""Tables as files: CSV for spreadsheets, Parquet for DuckDB where pyarrow is installed."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

from ..errors import EpidError
from .table import Table, rows_of


def save_tables(tables: list[Table], folder: Path) -> list[Path]:
    """Write NAME.csv and NAME.parquet of each table; return the paths. Raises EpidError where the folder cannot be written."""
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            written.append(_csv(table, folder / f"{table.name}.csv"))
            if find_spec("pyarrow") is not None:
                written.append(_parquet(table, folder / f"{table.name}.parquet"))
    except OSError as error:
        raise EpidError(f"cannot write the tables in {folder}: {error.strerror or error}") from error
    return written


def _csv(table: Table, path: Path) -> Path:
    rows, unfinished = rows_of(table), path.with_name(f".{path.name}")
    with unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(_names(rows)))
        writer.writeheader()
        writer.writerows(rows)
    return unfinished.replace(path)


def _parquet(table: Table, path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, unfinished = rows_of(table), path.with_name(f".{path.name}")
    columns = {name: [row.get(name) for row in rows] for name in _names(rows)}
    pq.write_table(pa.table(columns), unfinished)
    return unfinished.replace(path)


def _names(rows: list[dict[str, float | int | str | None]]) -> dict[str, None]:
    """All column names in order: a row that lacks a figure lacks its interval's columns too."""
    return dict.fromkeys(name for row in rows for name in row)
