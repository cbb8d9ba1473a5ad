"""Tracebacks as the program would print them without us."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

_HERE = str(Path(__file__).parents[1])


def without_hooks(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of hookrun's own functions, which stand between the program's calls."""
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    step = trace
    while step is not None:
        while step.tb_next is not None and _is_ours(step.tb_next):
            step.tb_next = step.tb_next.tb_next
        step = step.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_HERE)
