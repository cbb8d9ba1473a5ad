"""The daemon's `/metrics` page for Prometheus: joules as counters that survive restarts, links, gaps, bounds, lag, queues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .totals import Totals

METRICS = {
    "epid_energy_joules_total": ("counter", "Net forward energy that a meter channel has counted."),
    "epid_lost_frames_total": ("counter", "Frames of a board that never came, since the daemon started."),
    "epid_damaged_frames_total": ("counter", "Pieces between frames that are no frame, since the daemon started."),
    "epid_refused_frames_total": (
        "counter",
        "Intact frames of a board that were refused, since the daemon started.",
    ),
    "epid_board_starts_total": ("counter", "Times that the board has started since the daemon did."),
    "epid_board_up": ("gauge", "1 while frames of the board come in."),
    "epid_node_up": ("gauge", "1 while the node is connected; no line once it has left."),
    "epid_power_watts": ("gauge", "Newest active power of a meter channel."),
    "epid_clock_bound_seconds": ("gauge", "Half width of the map from a peer's clock to the daemon's."),
    "epid_power_lag_seconds": (
        "gauge",
        "Age of the middle of a channel's averaging window, by the newest `epid lag --save`.",
    ),
    "epid_power_lag_within_seconds": ("gauge", "Half width of the 95 % interval of that age."),
    "epid_unreadable_lag_files": ("gauge", "Files named .lag.json beside the runs that hold no lag."),
    "epid_run_spans_total": ("counter", "Spans recorded in an open run."),
    "epid_run_dropped_spans_total": ("counter", "Spans of an open run that its node lost."),
    "epid_run_unwritten_batches": ("gauge", "Batches of an open run that wait to be flushed to its file."),
    "epid_run_unwritten_bytes": ("gauge", "What of an open run waits in memory to be flushed to its file."),
    "epid_disk_free_bytes": ("gauge", "What may still be written to the disk of the run files."),
    "epid_open_windows": ("gauge", "Measuring windows that clients have open."),
    "epid_refused_messages_total": ("counter", "Messages of nodes that were refused, since the daemon started."),
}
"""name: (type, meaning) of every metric."""


def page(status: dict[str, Any], totals: Totals) -> bytes:
    """Return the metrics of a daemon's status in Prometheus's text format; a missing figure has no line."""
    families: dict[str, Metric] = {}
    for name, labels, value in [*_boards(status, totals), *_peers(status), *_lags(status), *_daemon(status)]:
        if value is not None:
            kind, meaning = METRICS[name]
            family = families.setdefault(name, Metric(name.removesuffix("_total"), meaning, kind))
            family.add_sample(name, labels, value)
    registry = CollectorRegistry()
    registry.register(_Families(list(families.values())))
    return generate_latest(registry)


class _Families(Collector):
    """Hands the families of one request to the exposition."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


Row = tuple[str, dict[str, str], Any]


def _boards(status: dict[str, Any], totals: Totals) -> Iterator[Row]:
    for board in status["boards"]:
        labels = {"board": board["board_id"], "simulated": str(board["simulated"]).lower()}
        yield "epid_board_up", labels, int(board["link"] == "up")
        yield "epid_lost_frames_total", labels, board["lost_frames"]
        yield "epid_damaged_frames_total", labels, board["damaged_segments"]
        yield "epid_refused_frames_total", labels, board["refused_frames"]
        yield "epid_board_starts_total", labels, board["boots"]
        yield "epid_clock_bound_seconds", {"peer": board["board_id"]}, _seconds(board["clock_bound_us"])
        for channel in board["channels"]:
            mine = labels | {"channel": str(channel["channel"]), "name": str(channel["name"])}
            total_j = totals.update(board["board_id"], board["boot_id"], channel["channel"], channel["energy_j"])
            yield "epid_energy_joules_total", mine, total_j
            yield "epid_power_watts", mine, channel["p_w"]


def _peers(status: dict[str, Any]) -> Iterator[Row]:
    for node in status["nodes"]:
        yield "epid_node_up", {"node": node["node"]}, 1
        yield "epid_clock_bound_seconds", {"peer": node["node"]}, _seconds(node["clock_bound_us"])
    for run in status["runs"]:
        labels = {"run": run["run"], "node": run["node"]}
        yield "epid_run_spans_total", labels, run["spans"]
        yield "epid_run_dropped_spans_total", labels, run["dropped"]
        yield "epid_run_unwritten_batches", labels, run["unwritten_batches"]
        yield "epid_run_unwritten_bytes", labels, run["unwritten_bytes"]


def _lags(status: dict[str, Any]) -> Iterator[Row]:
    for lag in status["lags"]:
        labels = {"board": lag["board_id"], "simulated": str(lag["simulated"]).lower(), "channel": str(lag["channel"])}
        yield "epid_power_lag_seconds", labels | {"run": lag["run"]}, lag["centre_s"]
        yield "epid_power_lag_within_seconds", labels | {"run": lag["run"]}, lag["within_s"]
    yield "epid_unreadable_lag_files", {}, status["unreadable_lag_files"]


def _daemon(status: dict[str, Any]) -> Iterator[Row]:
    yield "epid_refused_messages_total", {}, status["refused_messages"]
    yield "epid_disk_free_bytes", {}, status["disk_free_bytes"]
    yield "epid_open_windows", {}, status["windows"]


def _seconds(bound_us: float | None) -> float | None:
    return None if bound_us is None else bound_us / 1e6
