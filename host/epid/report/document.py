"""The report as one JSON document: the same figures as the page, for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..analysis.summary import Phase, Summary, model_of

DOCUMENT_VERSION = 1


def document(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Return the report of some runs, the first being the baseline. Missing figures are null, never zero."""
    baseline = summaries[0]
    return _clean(
        {
            "report": DOCUMENT_VERSION,
            "epid": __version__,
            "simulated": any(summary.simulated for summary in summaries),
            "runs": [_run(summary) for summary in summaries],
            "comparisons": [compare(baseline, other) for other in summaries[1:]],
        }
    )


def compare(baseline: Summary, other: Summary) -> dict[str, Any]:
    """How `other` differs from the baseline: ratios other / baseline, below 1 is less."""
    return {
        "baseline": baseline.run.label,
        "other": other.run.label,
        "simulated": baseline.simulated or other.simulated,
        "decode_j_per_token": _ratio(other.decode.j_per_token, baseline.decode.j_per_token),
        "decode_j_per_token_net": _ratio(other.decode.j_per_token_net, baseline.decode.j_per_token_net),
        "decode_tokens_per_s": _ratio(other.decode.tokens_per_s, baseline.decode.tokens_per_s),
        "layer_us": [
            {
                "layer": after.layer,
                "attention": _ratio(after.attention_us, before.attention_us),
                "ffn": _ratio(after.ffn_us, before.ffn_us),
            }
            for before, after in _same_layers(baseline, other)
        ],
    }


def _same_layers(baseline: Summary, other: Summary) -> list[tuple[Any, Any]]:
    after = {layer.layer: layer for layer in other.layers}
    return [(before, after[before.layer]) for before in baseline.layers if before.layer in after]


def _run(summary: Summary) -> dict[str, Any]:
    node = summary.run.node
    return {
        "label": summary.run.label,
        "path": str(summary.run.path),
        "run": summary.run.metadata.get("run"),
        "utc": summary.run.metadata.get("utc"),
        "status": summary.run.end.get("status"),
        "node": node.node,
        "engine": node.hello.get("engine"),
        "model": model_of(summary),
        "settings": node.begin.get("settings", {}),
        "simulated": summary.simulated,
        "meter": {
            "board_id": summary.track.board_id,
            "channel": summary.track.channel,
            "sample_hz": summary.track.sample_hz,
            "samples": len(summary.track),
            "lost_frames": summary.lost_frames,
            "dropped_by_board": summary.track.dropped,
            "energy_step_j": summary.track.quantum_j,
            "registers_over_integrated_power": summary.chains_ratio,
        },
        "channels": [dataclasses.asdict(channel) | {"simulated": summary.simulated} for channel in summary.channels],
        "alignment_bound_us": summary.alignment_bound_us,
        "spans": len(summary.spans.columns["kind"]),
        "dropped_spans": summary.spans.dropped,
        "idle": dataclasses.asdict(summary.idle),
        "prefill": _phase(summary.prefill),
        "decode": _phase(summary.decode),
        "layers": [dataclasses.asdict(layer) for layer in summary.layers],
        "warnings": list(summary.warnings),
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "tokens": phase.tokens,
        "seconds": phase.seconds,
        "tokens_per_s": phase.tokens_per_s,
        "energy_j": phase.energy_j,
        "energy_within_j": phase.within_j,
        "j_per_token": phase.j_per_token,
        "j_per_token_net": phase.j_per_token_net,
        "j_per_token_within": phase.j_per_token_within,
        "fault": phase.fault or None,
    }


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference else float("nan")


def _clean(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot hold, by None."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
