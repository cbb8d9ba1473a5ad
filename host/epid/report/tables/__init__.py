"""One file per table of the report, and all of them in reading order."""

from __future__ import annotations

from ...analysis.study.study import Study
from ..table import Table
from .answer_table import answer_table
from .conservation_table import conservation_table
from .layer_table import layer_table
from .phase_table import phase_table
from .redistribution_table import redistribution_table
from .result_table import result_table
from .saving_table import saving_table
from .trust_table import trust_table


def tables_of(study: Study) -> list[Table]:
    """Every table that this study has rows for."""
    makers = (
        result_table,
        saving_table,
        phase_table,
        layer_table,
        redistribution_table,
        conservation_table,
        trust_table,
        answer_table,
    )
    return [table for make in makers if (table := make(study)).rows]
