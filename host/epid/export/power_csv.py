"""A power trace as CSV: seconds and watts in the first two columns, as epi-bench's traces (`t=0.000: 48.2 W`) have them.

`epi sim --channel 0=csv:FILE` replays such a file. The first line is a comment-free heading; a missing reading is an empty cell.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from epi_protocol import events

from .recorded import Recorded
from .whole_file import whole_file

HEADING = ("time_s", "power_w", "energy_j", "voltage_v", "current_a", "phase", "request", "simulated")
PHASES = ("idle", "warmup", "prefill", "decode", "burn", "rest")


def write_power_csv(path: Path, run: Recorded) -> None:
    """Write the samples of one run, seconds counted from the run's own beginning, rows in order of time."""
    track = run.track
    known = np.isfinite(track.energy_j)
    energy_j = track.energy_j - (track.energy_j[known][0] if known.any() else 0.0)
    phases, requests = _phases(run)
    simulated = "yes" if run.simulated else "no"
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADING)
        for at in range(len(track)):
            seconds = (int(track.host_ns[at]) - run.start_ns) / 1e9
            numbers = (_text(values[at], 4) for values in (track.p_w, energy_j, track.u_v, track.i_a))
            writer.writerow((f"{seconds:.6f}", *numbers, phases[at], requests[at], simulated))


def _phases(run: Recorded) -> tuple[list[str], list[str]]:
    """Phase and request that each sample lies in; empty outside."""
    names, requests = [""] * len(run.track), [""] * len(run.track)
    for kind in PHASES:
        found = run.spans.of_kind(events.KIND[kind])
        for begin_ns, end_ns, request in zip(found["begin_ns"], found["end_ns"], found["request"], strict=True):
            first, last = np.searchsorted(run.track.host_ns, [begin_ns, end_ns])
            names[first:last] = [kind] * (last - first)
            requests[first:last] = [str(request) if request >= 0 else ""] * (last - first)
    return names, requests


def _text(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""
