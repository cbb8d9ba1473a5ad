"""The report's pictures: power over time, time per layer, joules per token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from epi_protocol import events

from ..analysis.summary import Summary

INK = "#1f2933"
GRID = "#e4e7eb"
PHASE_COLOURS = {"idle": "#cbd2d9", "warmup": "#f7d070", "prefill": "#2bb0ed", "decode": "#f9703e"}
RUN_COLOURS = ("#0b69a3", "#de3a11", "#0c6b58", "#8719e0", "#8d2b0b", "#486581")
_MAX_POINTS = 20_000


def power_picture(summaries: Sequence[Summary]) -> go.Figure:
    """Watts over time, one row per run on its own clock zero, phases shaded; lost frames are gaps in the line."""
    figure = make_subplots(
        rows=len(summaries),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12 / max(1, len(summaries) - 1) if len(summaries) > 1 else 0,
        subplot_titles=[summary.run.label for summary in summaries],
    )
    for row, summary in enumerate(summaries, 1):
        t_s, p_w = _trace(summary)
        line = {"color": INK, "width": 1.4}
        figure.add_trace(go.Scatter(x=t_s, y=p_w, mode="lines", line=line, showlegend=False, name="P"), row=row, col=1)
        _shade(figure, summary, row)
        figure.update_yaxes(title_text="W", rangemode="tozero", row=row, col=1)
    for name, colour in PHASE_COLOURS.items():
        marker = {"color": colour, "size": 12, "symbol": "square", "opacity": 0.6}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=name), row=1, col=1)
    figure.update_xaxes(title_text="seconds since the first request or idle window", row=len(summaries), col=1)
    return _finish(figure, "Power at the wall socket", summaries, 140 + 190 * len(summaries))


def layer_picture(summaries: Sequence[Summary]) -> go.Figure:
    """Median time of each layer's attention and FFN while tokens are generated, one colour per run."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1, subplot_titles=["attention", "feed-forward"])
    for index, summary in enumerate(summaries):
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        numbers = [layer.layer for layer in summary.layers]
        for row, times in ((1, [item.attention_us for item in summary.layers]), (2, [item.ffn_us for item in summary.layers])):
            bar = go.Bar(
                x=numbers, y=times, name=summary.run.label, marker_color=colour, legendgroup=str(index), showlegend=row == 1
            )
            figure.add_trace(bar, row=row, col=1)
    figure.update_yaxes(title_text="µs per token", rangemode="tozero")
    figure.update_xaxes(title_text="layer", row=2, col=1)
    figure.update_layout(barmode="group", bargap=0.25)
    return _finish(figure, "Time per layer and token (median)", summaries, 560)


def token_picture(summaries: Sequence[Summary]) -> go.Figure:
    """Joules per generated token, split into what the idle node draws anyway and what decoding adds."""
    labels = [summary.run.label for summary in summaries]
    gross = np.array([summary.decode.j_per_token for summary in summaries])
    net = np.array([summary.decode.j_per_token_net for summary in summaries])
    bounds = [summary.decode.j_per_token_within for summary in summaries]
    figure = go.Figure()
    if np.isfinite(net).all():
        figure.add_trace(go.Bar(y=labels, x=gross - net, orientation="h", name="idle share", marker_color="#cbd2d9"))
        figure.add_trace(
            go.Bar(y=labels, x=net, orientation="h", name="net of idle", marker_color="#f9703e", error_x=_error(bounds))
        )
    else:
        figure.add_trace(go.Bar(y=labels, x=gross, orientation="h", name="gross", marker_color="#f9703e", error_x=_error(bounds)))
    figure.update_layout(barmode="stack", bargap=0.45)
    figure.update_xaxes(title_text="J per generated token", rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    return _finish(figure, "Joules per token, decode", summaries, 150 + 60 * len(summaries))


def _error(bounds: Sequence[float]) -> dict[str, object]:
    return {"type": "data", "array": list(bounds), "color": INK, "thickness": 1.2, "width": 5}


def _trace(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and watts with a NaN where frames are missing, thinned to what a screen can show."""
    track = summary.track
    t_s = (track.host_ns - _zero_ns(summary)) / 1e9
    gaps = np.flatnonzero(track.lost > 0)
    t_s, p_w = np.insert(t_s, gaps, t_s[gaps]), np.insert(track.p_w, gaps, np.nan)
    step = max(1, len(t_s) // _MAX_POINTS)
    return t_s[::step], p_w[::step]


def _zero_ns(summary: Summary) -> int:
    spans = summary.spans.columns
    return int(spans["begin_ns"].min()) if len(spans["begin_ns"]) else int(summary.track.host_ns[0])


def _shade(figure: go.Figure, summary: Summary, row: int) -> None:
    zero_ns = _zero_ns(summary)
    for name, colour in PHASE_COLOURS.items():
        found = summary.spans.of_kind(events.KIND[name])
        for begin_ns, end_ns in zip(found["begin_ns"], found["end_ns"], strict=True):
            x0, x1 = (int(begin_ns) - zero_ns) / 1e9, (int(end_ns) - zero_ns) / 1e9
            figure.add_vrect(x0=x0, x1=x1, fillcolor=colour, opacity=0.35, line_width=0, layer="below", row=row, col=1)


def _finish(figure: go.Figure, title: str, summaries: Sequence[Summary], height: int) -> go.Figure:
    simulated = any(summary.simulated for summary in summaries)
    figure.update_layout(
        title={"text": title + (" <span style='color:#ba2525'>· simulated meter</span>" if simulated else ""), "x": 0},
        height=height,
        margin={"l": 70, "r": 20, "t": 80, "b": 55},
        font={"family": "system-ui, sans-serif", "color": INK, "size": 13},
        plot_bgcolor="white",
        paper_bgcolor="white",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.04, "yanchor": "bottom"},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure
