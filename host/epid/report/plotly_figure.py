"""Figures for the page: plotly, interactive."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .figure import GRID, INK, QUIET, Axis, Figure, Heat, Panel, Rule, Series

_GAP = 85
"""Pixels between two panels: axis label of the upper, title of the lower."""
_TOP, _BOTTOM = 70, 60
_SCALE = "Blues"
_DIVERGING = ((0.0, "#0c6b58"), (0.5, "#ffffff"), (1.0, "#de3a11"))
_MODES = {"line": "lines", "points": "markers", "line+points": "lines+markers"}


def plotly_figure(figure: Figure) -> go.Figure:
    """Return the figure for the page, without its title: the page has it as a heading."""
    heights = [panel.height for panel in figure.panels]
    total = sum(heights) + _GAP * (len(heights) - 1)
    drawn = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=figure.shared_x,
        row_heights=heights,
        vertical_spacing=_GAP / total if len(heights) > 1 else 0,
        subplot_titles=[panel.title for panel in figure.panels],
    )
    drawn.update_annotations(font={"size": 13, "color": QUIET}, x=0, xanchor="left")
    shown: set[str] = set()
    for row, panel in enumerate(figure.panels, 1):
        _draw(drawn, panel, row, total, figure, shown)
    drawn.update_layout(
        height=total + _TOP + _BOTTOM,
        margin={"l": 10, "r": 10, "t": _TOP, "b": _BOTTOM},
        font={"family": "system-ui, sans-serif", "color": INK, "size": 13},
        plot_bgcolor="white",
        paper_bgcolor="white",
        barmode="overlay",
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + 34 / total, "yanchor": "bottom"},
    )
    if figure.simulated:
        _mark_simulated(drawn, total)
    return drawn


def _draw(drawn: go.Figure, panel: Panel, row: int, total: int, figure: Figure, shown: set[str]) -> None:
    if panel.heat is not None:
        _heat(drawn, panel, panel.heat, row, total)
    for series in panel.series:
        for trace in _traces(series, listed=series.listed and series.name not in shown):
            drawn.add_trace(trace, row=row, col=1)
        shown.add(series.name)
    _ribbons(drawn, panel, row, shown)
    for rule in panel.rules:  # after the series: plotly draws none on axes that are still empty
        _rule(drawn, rule, row)
    last = row == len(figure.panels) or not figure.shared_x
    drawn.update_xaxes(**_axis(panel.x), title_text=panel.x.label if last else "", row=row, col=1)
    drawn.update_yaxes(**_axis(panel.y), title_text=panel.y.label, automargin=True, row=row, col=1)


def _traces(series: Series, listed: bool) -> list[Any]:
    shared = {"x": series.x, "y": series.y, "name": series.name, "legendgroup": series.name, "showlegend": listed}
    if series.notes:
        shared |= {"text": series.notes, "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>"}
    colour = INK if series.style == "bars" else series.colour
    errors = {
        "error_y": _error(colour, series.y, series.low, series.high),
        "error_x": _error(colour, series.x, series.x_low, series.x_high),
    }
    if series.style == "bars":
        return [go.Bar(**shared, orientation="h", marker_color=series.colour, width=0.5, error_x=errors["error_x"])]
    line = {"color": series.colour, "width": 1.6, "dash": "dash" if series.dash else "solid"}
    marker = {"color": series.colour, "size": 8, "line": {"color": "white", "width": 1}}
    points = series.style != "line"
    return [go.Scatter(**shared, mode=_MODES[series.style], line=line, marker=marker if points else None, **errors)]


def _error(colour: str, middle: np.ndarray, low: np.ndarray | None, high: np.ndarray | None) -> dict[str, Any] | None:
    if low is None or high is None:
        return None
    ends = {"array": high - middle, "arrayminus": middle - low, "symmetric": False}
    return {"type": "data", **ends, "color": colour, "thickness": 1.4, "width": 5}


def _heat(drawn: go.Figure, panel: Panel, heat: Heat, row: int, total: int) -> None:
    """Cells with a colour bar of the panel's own height beside them."""
    top = sum(p for p in drawn.layout[f"yaxis{row if row > 1 else ''}"].domain) / 2
    length = max(90, panel.height - 40)
    low, high = heat.limits
    scale = {"colorscale": list(_DIVERGING) if heat.diverging else _SCALE, "zmin": low, "zmax": high}
    marks = {"text": [list(line) for line in heat.marks], "texttemplate": "%{text}"} if heat.marks else {}
    bar = {"title": {"text": heat.unit}, "y": top, "yanchor": "middle", "lenmode": "pixels", "len": length, "thickness": 12}
    drawn.add_trace(
        go.Heatmap(
            x=list(range(heat.values.shape[1])),
            y=list(range(heat.values.shape[0])),
            z=heat.values,
            xgap=1,
            ygap=1,
            colorbar=bar,
            hovertemplate=f"layer %{{x}}: %{{z:.4g}} {heat.unit}<extra></extra>",
            **scale,
            **marks,
        ),
        row=row,
        col=1,
    )


def _ribbons(drawn: go.Figure, panel: Panel, row: int, shown: set[str]) -> None:
    """All blocks of one name as one trace of bars, so that the legend switches them."""
    for name in dict.fromkeys(block.name for block in panel.blocks):
        mine = [block for block in panel.blocks if block.name == name]
        bars = go.Bar(
            x=[block.x1 - block.x0 for block in mine],
            base=[block.x0 for block in mine],
            y=[block.row for block in mine],
            orientation="h",
            width=0.7,
            name=name,
            legendgroup=name,
            showlegend=name not in shown,
            marker={"color": mine[0].colour, "line": {"width": 0}},
            hovertemplate=f"{name}: %{{x:.2f}} s<extra></extra>",
        )
        drawn.add_trace(bars, row=row, col=1)
        shown.add(name)


def _rule(drawn: go.Figure, rule: Rule, row: int) -> None:
    label: dict[str, Any] = {"row": row, "col": 1}
    if rule.label:
        at = "top" if rule.upright else "top right"
        label |= {"annotation_text": rule.label, "annotation_position": at}
        label["annotation_font"] = {"size": 12, "color": rule.colour}
    if rule.until is not None:
        drawn.add_hrect(y0=rule.value, y1=rule.until, fillcolor=rule.colour, opacity=0.12, line_width=0, **label)
    elif rule.upright:
        drawn.add_vline(x=rule.value, line={"color": rule.colour, "dash": "dash", "width": 1.2}, **label)
    else:
        drawn.add_hline(y=rule.value, line={"color": rule.colour, "dash": "dot", "width": 1.2}, **label)


def _axis(axis: Axis) -> dict[str, Any]:
    settings: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "rangemode": "tozero" if axis.from_zero else "normal"}
    if axis.categories:
        n = len(axis.categories)
        step = max(1, n // 40)
        settings |= {"tickvals": list(range(0, n, step)), "ticktext": list(axis.categories)[::step], "showgrid": False}
        settings["range"] = [n - 0.5, -0.5] if axis.reversed else [-0.5, n - 0.5]
    return settings


def _mark_simulated(drawn: go.Figure, total: int) -> None:
    drawn.add_annotation(
        text="simulated meter",
        xref="paper",
        yref="paper",
        x=1,
        xanchor="right",
        y=-_BOTTOM / total,
        yanchor="bottom",
        showarrow=False,
        font={"size": 12, "color": "#ba2525"},
    )
