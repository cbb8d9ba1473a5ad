"""The five questions of the research plan and what this study says to them."""

from __future__ import annotations

from ...analysis.study.study import Study
from ..table import Column, Table

COLUMNS = (Column("name", ""), Column("question", "question"), Column("answer", "answer"), Column("test", "by"))


def answer_table(study: Study) -> Table:
    """One row per question."""
    rows = tuple((answer.name, answer.question, answer.answer, answer.test) for answer in study.answers)
    return Table("answers", "The five questions", COLUMNS, rows, study.simulated)
