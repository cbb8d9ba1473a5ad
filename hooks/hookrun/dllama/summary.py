"""What a person and a program are told at the end of a run of distributed-llama."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from ..sending.arrivals import Arrival
from ..sending.recording import Outcome
from .feed import Feed
from .session import Ended, ProgramRun


def as_map(
    outcome: Outcome, run: ProgramRun, ended: Ended | None, feed: Feed | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole result as plain values."""
    result: dict[str, Any] = {
        "run": outcome.run,
        "status": outcome.status,
        "settings": dict(settings),
        "exit_code": None if ended is None else ended.code,
        "spans": outcome.spans,
        "dropped": outcome.dropped,
        "arrival": None if outcome.arrival is None else outcome.arrival.to_map(),
        "daemon_path": outcome.daemon_path,
        "file_path": outcome.file_path,
        "problems": [*outcome.problems, *_problems(run, ended, feed)],
    }
    return result | _figures(run)


def as_text(result: Mapping[str, Any]) -> str:
    """Return the result as a few lines."""
    lines = [f"hookrun: {result['spans']} spans, {result['dropped']} lost; level {result['settings']['level']}"]
    if "tokens" in result:
        lines[0] += f"; {result['prompt_tokens']} prompt + {result['tokens']} decoded tokens"
        if result["token_ms"] is not None:
            lines.append(
                f"hookrun: {result['token_ms']:.0f} ms per token, {result['sync_ms']:.0f} ms of them sync (medians, as printed)"
            )
    else:
        lines[0] += f"; {result['forwards']} forward passes"
    if result["arrival"] is not None:
        lines.append(f"hookrun: {Arrival(**result['arrival']).sentence()}")
    places = [place for place in (result["daemon_path"], result["file_path"]) if place]
    lines.append(f"hookrun: recorded in {' and '.join(places)}" if places else "hookrun: not recorded")
    return "\n".join(lines)


def _figures(run: ProgramRun) -> dict[str, Any]:
    if run.worker is not None:
        return {"forwards": run.worker.forwards}
    assert run.root is not None
    tokens = run.root.tokens
    return {
        "prompt_tokens": sum(batch.tokens for batch in run.root.batches),
        "tokens": len(tokens),
        "token_ms": statistics.median(token.pred_ms + token.sync_ms for token in tokens) if tokens else None,
        "sync_ms": statistics.median(token.sync_ms for token in tokens) if tokens else None,
        "sent_kb": sum(token.sent_kb for token in tokens),
        "received_kb": sum(token.received_kb for token in tokens),
        "text": "".join(token.piece or "" for token in tokens),
    }


def _problems(run: ProgramRun, ended: Ended | None, feed: Feed | None) -> list[str]:
    problems = []
    if ended is not None and ended.frozen:
        problems.append("nothing moved any more, so the program was stopped: another node is frozen or has lost its power")
    elif ended is not None and ended.code:
        said = f": {ended.errors[-1]}" if ended.errors else ""
        problems.append(f"the program ended with code {ended.code}{said}")
    if feed is not None and feed.missed:
        problems.append(f"{feed.missed} of the shim's marks were overwritten before they were read")
    return problems + (_root_problems(run, feed) if run.root is not None else _worker_problems(run))


def _root_problems(run: ProgramRun, feed: Feed | None) -> list[str]:
    root, problems = run.root, []
    assert root is not None
    if feed is not None and root.by_text:
        problems.append(
            f"{root.by_text} of {len(root.tokens)} tokens had no stamps of their own and are placed by the program's text"
        )
    if feed is not None and root.tokens and root.calls is not None and not root.understood:
        problems.append(
            f"its timer asked {root.calls} times per token, which no known list of steps explains: no layers in this run"
        )
    if root.disagreeing:
        problems.append(f"{root.disagreeing} tokens took another time by their stamps than the program printed")
    return problems


def _worker_problems(run: ProgramRun) -> list[str]:
    assert run.worker is not None
    unmapped = run.worker.unmapped
    return [f"{unmapped} forward passes were not exchanged layer by layer and have no spans"] if unmapped else []
