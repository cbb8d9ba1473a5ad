"""What a person and a program are told at the end of a run."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..sending.arrivals import Arrival
from ..sending.recording import Outcome
from .runner import Request


def as_map(
    outcome: Outcome, requests: Sequence[Request], settings: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole result as plain values; a rate that was not measured is None."""
    return {
        "run": outcome.run,
        "status": outcome.status,
        "model": dict(model),
        "settings": dict(settings),
        "requests": [
            {
                "prompt_tokens": request.prompt_tokens,
                "tokens": request.decoded,
                "prefill_s": request.prefill_ns / 1e9,
                "decode_s": request.decode_ns / 1e9,
            }
            for request in requests
        ],
        "prefill_tokens_per_s": _median([request.prefill_tokens_per_s for request in requests]),
        "decode_tokens_per_s": _median([request.decode_tokens_per_s for request in requests if request.decoded]),
        "spans": outcome.spans,
        "dropped": outcome.dropped,
        "arrival": None if outcome.arrival is None else outcome.arrival.to_map(),
        "daemon_path": outcome.daemon_path,
        "file_path": outcome.file_path,
        "problems": list(outcome.problems),
    }


def as_text(result: Mapping[str, Any], text: str) -> str:
    """Return the result as a few lines; `text` is what the model wrote in the first request."""
    settings, requests = result["settings"], result["requests"]
    stamps = settings["stamps"]
    lines = [
        f"{result['model']['file']}: {len(requests)} of {_planned(settings)} requests, {_work(settings)}, "
        f"{settings['threads']} threads",
        f"  prefill {_rate(result['prefill_tokens_per_s'])}, decode {_rate(result['decode_tokens_per_s'])} (medians)",
        f"  {result['spans']} spans, {result['dropped']} lost; stamps: {stamps['mode']}, taken in {stamps['by']}",
    ]
    if text:
        lines.append(f"  first answer: {textwrap.shorten(text, 100, placeholder=' …')}")
    if result["arrival"] is not None:
        lines.append(f"  {Arrival(**result['arrival']).sentence()}")
    places = [place for place in (result["daemon_path"], result["file_path"]) if place]
    lines.append(f"  recorded in {' and '.join(places)}" if places else "  not recorded")
    return "\n".join(lines)


def _planned(settings: Mapping[str, Any]) -> int:
    prompts = settings["prompt_tokens"]
    return int(settings["repeat"]) * (len(prompts) // settings["parallel"] if isinstance(prompts, list) else 1)


def _work(settings: Mapping[str, Any]) -> str:
    prompts, bound = settings["prompt_tokens"], "at most " if settings["stop_at_eos"] else ""
    prompt = f"{min(prompts)} to {max(prompts)}" if isinstance(prompts, list) else f"{prompts}"
    side_by_side = f" in {settings['parallel']} sequences side by side" if settings["parallel"] > 1 else ""
    return f"{prompt} prompt + {bound}{settings['tokens']} decoded tokens each{side_by_side}"


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _rate(tokens_per_s: float | None) -> str:
    return "not measured" if tokens_per_s is None else f"{tokens_per_s:.2f} tokens/s"
