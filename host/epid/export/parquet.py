"""Tidy tables as Parquet files, one row per sample, span, layer and run: made for DuckDB, pandas and Polars.

SELECT label, layer, sum(metered_j) AS joules FROM 'tables/spans.parquet' WHERE phase = 'decode' AND layer >= 0 GROUP BY ALL
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from epi_protocol import events

from .. import __version__
from .recorded import Recorded
from .whole_file import whole_file

TABLES = ("runs", "samples", "spans")
Progress = Callable[[int], None]


def write_parquet(folder: Path, runs: Sequence[Recorded], progress: Progress) -> list[Path]:
    """Write one file per table into `folder`, all runs in each; return their paths. `progress` is told of rows written."""
    paths = [folder / f"{name}.parquet" for name in TABLES]
    with ExitStack() as stack:
        unfinished = [stack.enter_context(whole_file(path)) for path in paths]
        for make, path in zip((_run_table, _sample_table, _span_table), unfinished, strict=True):
            _write(path, runs, make, progress)
    return paths


def _write(path: Path, runs: Sequence[Recorded], make: Callable[[Recorded], pa.Table], progress: Progress) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for run in runs:
            table = make(run)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            progress(table.num_rows)
    finally:
        if writer is not None:
            writer.close()


def _run_table(run: Recorded) -> pa.Table:
    model = dict(run.run.node.begin.get("model", {}))
    row = {
        "run": run.run.metadata.get("run", ""),
        "label": run.run.label,
        "simulated": run.simulated,
        "utc": run.run.metadata.get("utc", ""),
        "status": str(run.run.end.get("status", "")),
        "node": run.run.node.node,
        "board_id": run.track.board_id,
        "channel": run.track.channel,
        "energy_step_j": run.track.quantum_j,
        "model": str(model.get("name", "")),
        "model_sha256": str(model.get("sha256", "")),
        "start_host_ns": run.start_ns,
        "lost_frames": int(run.track.lost.sum()),
        "dropped_spans": run.spans.dropped,
        "epid": __version__,
    }
    return pa.table({name: [value] for name, value in row.items()})


def _sample_table(run: Recorded) -> pa.Table:
    track = run.track
    values = {
        "host_ns": track.host_ns,
        "t_s": (track.host_ns - run.start_ns) / 1e9,
        "bound_us": track.bound_ns / 1e3,
        "power_w": _nullable(track.p_w),
        "energy_j": _nullable(track.energy_j),
        "voltage_v": _nullable(track.u_v),
        "current_a": _nullable(track.i_a),
        "boot": track.segment,
        "lost_before": track.lost,
        "flags": track.flags,
    }
    return _with_run(run, values)


def _span_table(run: Recorded) -> pa.Table:
    columns = run.spans.columns
    joules = run.metered_j(columns) if len(columns["kind"]) else np.zeros(0)
    values = {
        "begin_ns": columns["begin_ns"],
        "end_ns": columns["end_ns"],
        "t_s": (columns["begin_ns"] - run.start_ns) / 1e9,
        "seconds": (columns["end_ns"] - columns["begin_ns"]) / 1e9,
        "kind": _words(columns["kind"], events.KIND_NAME),
        "phase": _words(columns["phase"], events.KIND_NAME),
        **{name: columns[name] for name in ("layer", "request", "token", "count", "batch")},
        "metered_j": _nullable(joules),
    }
    return _with_run(run, values)


def _with_run(run: Recorded, values: Mapping[str, Any]) -> pa.Table:
    """The columns behind the run's name, its label and whether it was simulated."""
    n_rows = len(next(iter(values.values())))
    named = {"run": run.run.metadata.get("run", ""), "label": run.run.label}
    first = {name: pa.array([text] * n_rows, pa.string()).dictionary_encode() for name, text in named.items()}
    return pa.table({**first, "simulated": np.full(n_rows, run.simulated), **values})


def _words(numbers: np.ndarray, names: Mapping[int, str]) -> pa.Array:
    """Names of a column of small numbers, null where a number has none."""
    table = pa.array([names.get(number) for number in range(256)], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int16)), table).dictionary_decode()


def _nullable(values: np.ndarray) -> pa.Array:
    """NaN becomes null: what was not measured is missing, not a number."""
    return pa.array(values, from_pandas=True)
