"""Holds the energy that a report gives against the energy that truly flowed in the simulator, channel by channel."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.005


@dataclass(frozen=True)
class Row:
    """One channel over the runs that metered it; `error` is relative, `within` whether it is small enough.

    `gaps` counts the runs whose energy the report itself calls missing: a gap that is marked is no wrong energy.
    """

    channel: int
    seconds: float
    gaps: int
    metered_j: float
    true_j: float
    error: float
    within: bool


def check(report: dict[str, Any], truth: dict[str, Any]) -> list[Row]:
    """Compare `epid report --json` with `epi sim --truth`: both stamp with the same clock of the same machine.

    A channel that no run metered, or that ran outside the truth's record, is out of tolerance.
    """
    n_channels = len(report["runs"][0]["channels"])
    return [_row(channel, report, truth) for channel in range(n_channels)]


def check_table(rows: list[Row]) -> str:
    """The comparison for a person."""
    lines = ["Metered energy against the simulator's truth · simulated meter", ""]
    lines.append("channel  seconds  metered J     true J   error")
    lines.append("───────  ───────  ─────────  ─────────  ──────")
    lines += [f"{r.channel:7}  {r.seconds:7.1f}  {r.metered_j:9.2f}  {r.true_j:9.2f}  {r.error:+.2%}{_gaps(r)}" for r in rows]
    return "\n".join(lines)


def _gaps(row: Row) -> str:
    if not row.gaps:
        return ""
    runs = "run" if row.gaps == 1 else "runs"
    return f"  without {row.gaps} {runs} whose energy has a marked gap: `epid report` says where"


def _row(channel: int, report: dict[str, Any], truth: dict[str, Any]) -> Row:
    every = [run["channels"][channel] for run in report["runs"]]
    parts = [part for part in every if part["energy_j"] is not None]
    true_j = sum(_true_at(truth, channel, part["end_ns"]) - _true_at(truth, channel, part["begin_ns"]) for part in parts)
    metered_j = sum(part["energy_j"] for part in parts)
    error = metered_j / true_j - 1 if true_j else float("nan")
    seconds = sum(part["end_ns"] - part["begin_ns"] for part in parts) / 1e9
    return Row(channel, seconds, len(every) - len(parts), metered_j, true_j, error, abs(error) <= TOLERANCE)


def _true_at(truth: dict[str, Any], channel: int, host_ns: int) -> float:
    """True energy since the simulator's start at an instant inside its record, between two entries of its series."""
    stamps, energies = truth["series"]["host_ns"], truth["series"]["energy_j"][channel]
    after = bisect_right(stamps, host_ns)
    if not 0 < after < len(stamps):
        return float("nan")
    before = after - 1
    share = (host_ns - stamps[before]) / (stamps[after] - stamps[before])
    return float(energies[before] + share * (energies[after] - energies[before]))
