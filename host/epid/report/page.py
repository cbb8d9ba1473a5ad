"""The report as one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from .. import __version__
from ..analysis.study.questions import Answer
from ..analysis.study.study import Study
from ..errors import EpidError
from .figure import Figure
from .plotly_figure import plotly_figure
from .table import Cell, Column, Table, bare, reason, reasons
from .verdict_text import verdict

_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "pan2d", "zoom2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}

TITLE = "Does the energy drop?"
SINGLE_TITLE = "Joules per token"
_LISTED = 6
"""Answers that rest on more figures than this fold them away."""

_FOLDED = 24
"""Tables with more rows than this are folded away until somebody opens them."""


def write_page(path: Path, study: Study, tables: Sequence[Table], figures: Sequence[Figure]) -> None:
    """Write the page under its final name only when it is whole; EpidError where that cannot be done."""
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page(study, tables, figures), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        if unfinished.is_file():
            unfinished.unlink()
        raise EpidError(f"cannot write the report {path}: {error.strerror}") from error


def page(study: Study, tables: Sequence[Table], figures: Sequence[Figure]) -> str:
    """Return the page's HTML: verdict first, then questions, results, figures, and what everything rests on."""
    by_name = {table.name: table for table in tables}
    first = [by_name[name] for name in ("results", "savings", "phases") if name in by_name]
    rest = [table for table in tables if table not in first and table.name != "answers"]
    title = TITLE if study.comparisons else SINGLE_TITLE
    body = [
        _head(study, title),
        _banner(study),
        _verdict(study),
        _remarks(study),
        _answers(study),
        *(_table_section(table) for table in first),
        *(_figure_section(figure) for figure in figures),
        *(_table_section(table) for table in rest),
        f"<footer>epid {__version__} · 95 % intervals throughout</footer>",
    ]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    meta = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    scripts = f"<style>{style}</style><script>{get_plotlyjs()}</script>"
    return f"<!doctype html><html lang=en><head>{meta}{scripts}</head><body><main>{''.join(body)}</main></body></html>"


def _head(study: Study, title: str) -> str:
    dates = sorted({str(run.run.metadata.get("utc", ""))[:10] for run in study.summaries})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    models = sorted({str(run.run.node.begin.get("model", {}).get("name", "")) for run in study.summaries} - {""})
    shown = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")
    runs = f"{len(study.summaries)} {'run' if len(study.summaries) == 1 else 'runs'} of {len(study.arms)} "
    runs += "model" if len(study.arms) == 1 else "models"
    return f"<header><h1>{escape(title)}</h1><p class=lead>{escape(' · '.join(filter(None, (runs, shown, when))))}</p></header>"


def _banner(study: Study) -> str:
    if not study.simulated:
        return ""
    return (
        "<section class=banner><b>Simulated meter.</b> The watts come from a model of the node, not from a socket: no figure "
        "here is a measurement of power.</section>"
    )


def _verdict(study: Study) -> str:
    tag = "<span class=tag>simulated</span>" if study.simulated else ""
    lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(study))
    return f"<section class=verdict>{tag}{lines}</section>"


def _remarks(study: Study) -> str:
    """What a reader has to know before believing a figure; the same sentence about several runs is said once."""
    said: dict[str, list[str]] = {}
    for run in study.summaries:
        for text in run.warnings:
            said.setdefault(text, []).append(run.run.label)
    lines = [*study.problems, *(f"{_whose(labels, study)}: {text}" for text, labels in said.items())]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section class=warnings><h2>Read this first</h2><ul>{items}</ul></section>"


def _whose(labels: list[str], study: Study) -> str:
    if len(labels) == len(study.summaries) and len(labels) > 1:
        return "all runs"
    return ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")


def _answers(study: Study) -> str:
    if not study.comparisons or not study.answers:
        return ""
    items = "".join(_answer(answer) for answer in study.answers)
    tag = " · simulated meter" if study.simulated else ""
    return f"<section><h2>The five questions{tag}</h2><dl>{items}</dl></section>"


def _answer(answer: Answer) -> str:
    figures = "".join(f"<li>{escape(what)}: {escape(text)}</li>" for what, text in answer.figures)
    listed = f"<ul>{figures}</ul>" if figures else ""
    if len(answer.figures) > _LISTED:
        listed = f"<details><summary>{len(answer.figures)} figures</summary>{listed}</details>"
    asked = f"<b>{escape(answer.name)}</b> {escape(answer.question)}"
    said = f"{_said(answer.answer)}{listed}<span class=test>{escape(answer.test)}</span>"
    return f"<dt class={'decided' if answer.decided else 'open'}>{asked}</dt><dd>{said}</dd>"


def _said(text: str) -> str:
    """An answer; one that says something about many cuts is folded away."""
    parts = text.split("; ")
    if len(parts) <= _LISTED:
        return escape(text)
    items = "".join(f"<li>{escape(part)}</li>" for part in parts)
    return f"<details><summary>an answer for each of {len(parts)} cuts</summary><ul>{items}</ul></details>"


def _table_section(table: Table) -> str:
    head = "".join(f"<th>{escape(column.title)}</th>" for column in table.columns)
    rows = "".join(_row(table.columns, row) for row in table.rows)
    notes = "".join(f"<p class=note>{escape(text)}</p>" for text in (table.note, *_missing(table)) if text)
    inner = f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}"
    heading = escape(table.heading)
    if len(table.rows) > _FOLDED:
        folded = f"<details><summary>{heading} <small>{len(table.rows)} rows</small></summary>{inner}</details>"
        return f"<section id=table-{table.name}>{folded}</section>"
    return f"<section id=table-{table.name}><h2>{heading}</h2>{inner}</section>"


def _missing(table: Table) -> list[str]:
    found = reasons(table)
    return [f"– {'; '.join(found[:4])}."] if found else []


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    return "<tr>" + "".join(_cell(column, cell) for column, cell in zip(columns, row, strict=True)) + "</tr>"


def _cell(column: Column, cell: Cell) -> str:
    figure, rest = bare(column, cell)
    why = reason(cell)
    title = f" title='{escape(why)}'" if why else ""
    kind = " class=text" if isinstance(cell, str) else ""
    return f"<td{kind}{title}>{escape(figure)}{f' <i>{escape(rest)}</i>' if rest else ''}</td>"


def _figure_section(figure: Figure) -> str:
    drawn = plotly_figure(figure).to_html(full_html=False, include_plotlyjs=False, config=_CONFIG, div_id=f"plot-{figure.name}")
    note = f"<p class=note>{escape(figure.note)}</p>" if figure.note else ""
    return f"<section id=figure-{figure.name}><h2>{escape(figure.heading)}</h2>{drawn}{note}</section>"
