"""The daemon's status for a person."""

from __future__ import annotations

from typing import Any


def status_text(seen: dict[str, Any]) -> str:
    """Return the lines that `epid status` prints."""
    lines = [f"epid {seen['epid']} on {seen['endpoint']}, up {seen['up_s']:.0f} s, run files in {seen['folder']}"]
    lines.append(f"disk: {seen['disk_free_bytes'] >> 20} MiB free; between runs: {seen['ambient']}")
    for board in seen["boards"]:
        lines += _board(board)
    if not seen["boards"]:
        lines.append("no meter connected")
    for node in seen["nodes"]:
        channel = "no channel named" if node["channel"] is None else f"channel {node['channel']}"
        refused = f", {node['refused']} answers refused" if node["refused"] else ""
        lines.append(f"node {node['node']} ({node['engine'] or '?'}): {channel}, clock {_bound(node['clock_bound_us'])}{refused}")
    for run in seen["runs"]:
        lines.append(
            f"run {run['run'][:8]} {run['label']} of {run['node']}: {run['spans']} spans, {run['dropped']} dropped, {run['path']}"
        )
    if not seen["runs"]:
        lines.append("no run open")
    if seen["windows"]:
        lines.append(f"{seen['windows']} measuring windows open")
    if seen["refused_messages"]:
        lines.append(f"{seen['refused_messages']} messages refused since the start")
    return "\n".join(lines)


def _board(board: dict[str, Any]) -> list[str]:
    tag = " (simulated)" if board["simulated"] else ""
    head = f"meter {board['board_id'] or '?'}{tag} on {board['address']}: {board['link']}"
    counts = (
        f"  {board['samples']} samples, {board['lost_frames']} lost, {board['damaged_segments']} damaged,"
        f" {board['refused_frames']} refused, clock {_bound(board['clock_bound_us'])}{_wrap(board['energy_wrap_s_at_15w'])}"
    )
    return [head, counts, *[_channel(channel, tag) for channel in board["channels"]]]


def _channel(channel: dict[str, Any], tag: str) -> str:
    power = "     -  " if channel["p_w"] is None else f"{channel['p_w']:8.3f}"
    voltage = "   -  " if channel["u_v"] is None else f"{channel['u_v']:6.1f}"
    reading = f"{power} W {voltage} V {channel['energy_j']:10.1f} J{tag} {' '.join(channel['flags'])}"
    return f"  channel {channel['channel']} {channel['name'] or '':<8} {reading}".rstrip()


def _wrap(wrap_s: float | None) -> str:
    """How long the board may fall silent before its energy registers go round at full load."""
    return "" if wrap_s is None else f", registers wrap in {wrap_s:.0f} s at 15 W"


def _bound(bound_us: float | None) -> str:
    return "not known yet" if bound_us is None else f"±{bound_us:.0f} µs"
