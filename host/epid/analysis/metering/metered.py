"""Which channel of which meter feeds the node of a run."""

from __future__ import annotations

from ...errors import RunFileError
from ..timeline.run import BoardRecord, Run


def metered_channel(run: Run, channel: int | None) -> tuple[BoardRecord, int]:
    """Return the board and the channel; `channel` overrides what the run says. RunFileError where neither tells."""
    named_board, _, named = run.metadata.get("channel", "").rpartition(":")
    if not run.boards:
        raise RunFileError(f"{run.path} holds no power: no meter was connected to epid during the run")
    if channel is None and not named:
        raise RunFileError(f"{run.path} does not say which channel feeds {run.metadata.get('node')!r}; name it with --channel")
    board = run.boards.get(named_board) if named_board else next(iter(run.boards.values()))
    if board is None or not board.payloads:
        raise RunFileError(f"{run.path} holds no samples of meter {named_board or next(iter(run.boards))}")
    return board, int(named) if channel is None else channel
