"""Power of one run of each arm over each other on one time axis, and what each was doing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epi_protocol import events

from ...analysis.summary import Summary
from ..figure import PHASE_COLOURS, Axis, Block, Figure, Panel, Series, arm_colour

MAX_RUNS = 8
_MAX_POINTS = 8_000


def power_figure(summaries: Sequence[Summary]) -> Figure:
    """Watts over seconds since the first request; lost frames are holes in the line."""
    shown = list(summaries)[:MAX_RUNS]
    lines = tuple(_line(summary, number) for number, summary in enumerate(shown))
    blocks = tuple(block for row, summary in enumerate(shown) for block in _blocks(summary, row))
    labels = tuple(summary.run.label for summary in shown)
    time = Axis("seconds since the first request")
    note = (
        "Each sample is an average over the recent past, so edges look softer than they are; energies do not rest on this trace."
    )
    left_out = len(summaries) - len(shown)
    if left_out:
        note += f" {left_out} more {'run is' if left_out == 1 else 'runs are'} not drawn."
    panels = (
        Panel(time, Axis("W", from_zero=True), "power at the wall socket", series=lines, height=330),
        Panel(time, Axis("", categories=labels, reversed=True), "what ran", blocks=blocks, height=70 + 26 * len(shown)),
    )
    return Figure("power", "Power over time", panels, any(s.simulated for s in shown), note, shared_x=True)


def _line(summary: Summary, number: int) -> Series:
    t_s, p_w = trace(summary)
    return Series(summary.run.label, t_s, p_w, arm_colour(number), style="line")


def trace(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and watts with a NaN where frames are missing, thinned to what a screen can show."""
    track = summary.track
    t_s = (track.host_ns - _zero_ns(summary)) / 1e9
    gaps = np.flatnonzero(track.lost > 0)
    t_s, p_w = np.insert(t_s, gaps, t_s[gaps]), np.insert(track.p_w, gaps, np.nan)
    step = max(1, len(t_s) // _MAX_POINTS)
    return np.round(t_s[::step], 3), np.round(p_w[::step], 3)


def _blocks(summary: Summary, row: int) -> list[Block]:
    zero_ns = _zero_ns(summary)
    found = []
    for name, colour in PHASE_COLOURS.items():
        columns = summary.spans.of_kind(events.KIND[name])
        for begin_ns, end_ns in zip(columns["begin_ns"], columns["end_ns"], strict=True):
            found.append(Block((int(begin_ns) - zero_ns) / 1e9, (int(end_ns) - zero_ns) / 1e9, row, name, colour))
    return found


def _zero_ns(summary: Summary) -> int:
    requests = summary.spans.of_kind(events.KIND["request"])["begin_ns"]
    spans = requests if len(requests) else summary.spans.columns["begin_ns"]
    return int(spans.min()) if len(spans) else int(summary.track.host_ns[0])
