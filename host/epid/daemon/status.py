"""What the daemon sees, as plain maps: the answer to `epid status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epi_protocol import PROTOCOL_VERSION, messages

from .. import __version__
from ..clocks import host_now_ns
from .board import BoardSession
from .lag_watch import LagWatch
from .node_session import NodeSession
from .recorder import Recorder

if TYPE_CHECKING:
    from .hub import Hub


def daemon_status(hub: Hub, recorder: Recorder, boards: list[dict[str, Any]], lags: LagWatch, started_ns: int) -> dict[str, Any]:
    """Everything at once; keys with units, nothing computed that was not measured."""
    return {
        "epid": __version__,
        "protocol": PROTOCOL_VERSION,
        "endpoint": hub.endpoint,
        "up_s": round((host_now_ns() - started_ns) / 1e9, 1),
        "folder": str(recorder.folder),
        "disk_free_bytes": recorder.disk.free_bytes(),
        "ambient": recorder.ambient.state,
        "refused_messages": hub.refused,
        "windows": hub.windows.open_count,
        "lags": lags.in_force(),
        "unreadable_lag_files": lags.unreadable,
        "boards": boards,
        "nodes": [node_status(session, recorder) for session in hub.sessions.values()],
        "runs": [run_status(run) for run in recorder.runs.values()],
    }


def board_status(address: str, session: BoardSession, link: str) -> dict[str, Any]:
    """One board: link, counts, clock bound, and the newest reading of each channel."""
    seen = session.description
    bound_ns = session.pinger.bound_ns()
    wraps = [scales["energy_wrap_s_at_15w"] for scales in seen.get("channels", []) if "energy_wrap_s_at_15w" in scales]
    return {
        "address": address,
        "link": link,
        "board_id": session.board_id,
        "boot_id": session.boot_id.hex(),
        "simulated": bool(seen.get("simulated", False)),
        "firmware": seen.get("firmware"),
        "sample_hz": seen.get("sample_hz"),
        "energy_wrap_s_at_15w": min(wraps, default=None),
        "boots": session.boots,
        "samples": session.samples,
        "lost_frames": session.lost,
        "dropped_by_board": session.last_sample.head["dropped"] if session.last_sample else None,
        "damaged_segments": session.decoder.damaged,
        "refused_frames": session.refused,
        "clock_bound_us": None if bound_ns is None else round(bound_ns / 1e3, 1),
        "channels": _channels(session),
    }


def node_status(session: NodeSession, recorder: Recorder) -> dict[str, Any]:
    """One node: who it is, how well its clock is known, which channel meters it."""
    bound_ns = session.pinger.bound_ns()
    return {
        "node": session.node,
        "host": session.host,
        "engine": session.engine,
        "channel": recorder.channels.get(session.node),
        "clock_bound_us": None if bound_ns is None else round(bound_ns / 1e3, 1),
        "refused": session.refused,
    }


def run_status(run: Any) -> dict[str, Any]:
    """One open run."""
    return {
        "run": run.run,
        "label": run.label,
        "node": run.node,
        "path": str(run.writer.path),
        "spans": run.spans,
        "dropped": run.dropped,
        "messages": run.writer.messages,
        "unwritten_batches": len(run.unacked),
        "unwritten_bytes": run.writer.pending_bytes,
    }


def _channels(session: BoardSession) -> list[dict[str, Any]]:
    if session.last_sample is None:
        return []
    described = session.description.get("channels", [])
    return [
        _channel(index, scales, block)
        for index, (scales, block) in enumerate(zip(described, session.last_sample.channels, strict=False))
    ]


def _channel(index: int, scales: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    invalid = messages.flag("MEASURE_INVALID") | messages.flag("ABSENT")
    known = not block["flags"] & invalid
    return {
        "channel": index,
        "name": scales.get("name"),
        "p_w": round(messages.extended(block["p"], block["p_lsb"]) * scales["p_w"], 3) if known else None,
        "u_v": round(messages.extended(block["u"], block["u_lsb"]) * scales["u_v"], 2) if known else None,
        "energy_j": round((block["forward"] - block["reverse"]) * scales["energy_j_per_tick"], 2),
        "flags": [name for name, bit, _meaning in messages.FLAGS if block["flags"] >> bit & 1],
    }
