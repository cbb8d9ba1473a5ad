"""The report as one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from .. import __version__
from ..analysis.summary import Summary
from ..errors import EpidError
from .document import compare
from .pictures import layer_picture, power_picture, token_picture
from .tables import Table, number, percent, tables


def write_page(path: Path, summaries: Sequence[Summary]) -> None:
    """Write the page under its final name only when it is whole; EpidError where that cannot be done."""
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page(summaries), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        if unfinished.is_file():
            unfinished.unlink()
        raise EpidError(f"cannot write the report {path}: {error.strerror}") from error


def page(summaries: Sequence[Summary]) -> str:
    """Return the page's HTML."""
    energy, trust, layers = tables(summaries)
    body = [
        "<h1>Joules per token</h1>",
        f"<p class=lead>{escape(_lead(summaries))}</p>",
        _banner(summaries),
        _headline(summaries),
        _warnings(summaries),
        _section(_table(energy)),
        _section(_picture(token_picture(summaries))),
        _section(_picture(power_picture(summaries))),
        _section(_picture(layer_picture(summaries))),
        _section(_table(trust)),
        f"<section><details><summary>{escape(layers.title)}</summary>{_table(layers, heading=False)}</details></section>",
    ]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Joules per token</title>"
    scripts = f"<style>{style}</style><script>{get_plotlyjs()}</script>"
    return f"<!doctype html><html lang=en><head>{head}{scripts}</head><body><main>{''.join(body)}</main></body></html>"


def _lead(summaries: Sequence[Summary]) -> str:
    runs = ", ".join(f"{summary.run.label} ({summary.run.metadata.get('utc', '')[:16]})" for summary in summaries)
    return f"{runs} · worked out by epid {__version__}"


def _banner(summaries: Sequence[Summary]) -> str:
    if not any(summary.simulated for summary in summaries):
        return ""
    return (
        "<section class=banner>Simulated meter: the firmware and the inference are real, the watts come from a model of the "
        "node, not from a socket. No figure here is a measurement of power.</section>"
    )


def _headline(summaries: Sequence[Summary]) -> str:
    tag = " · simulated" if summaries[0].simulated else ""
    cards = [(f"{number(s.decode.j_per_token, 3)} J/token", f"{s.run.label}, decode, gross{tag}") for s in summaries]
    for other in summaries[1:]:
        ratios = compare(summaries[0], other)
        saved = percent(ratios["decode_j_per_token"] - 1)
        faster = percent(ratios["decode_tokens_per_s"] - 1)
        cards.append((saved, f"J/token of {other.run.label} against {summaries[0].run.label}; tokens/s {faster}{tag}"))
    inner = "".join(f"<div class=card><b>{escape(big)}</b><span>{escape(small)}</span></div>" for big, small in cards)
    return f"<div class=headline>{inner}</div>"


def _warnings(summaries: Sequence[Summary]) -> str:
    lines = [f"{summary.run.label}: {text}" for summary in summaries for text in summary.warnings]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section class=warnings><h2>Read this first</h2><ul>{items}</ul></section>"


def _section(inner: str) -> str:
    return f"<section>{inner}</section>"


def _table(table: Table, heading: bool = True) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    title = f"<h2>{escape(table.title)}</h2>" if heading else ""
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _picture(figure: go.Figure) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True}))
