"""The report as one JSON document: the same figures as the page with all their intervals, for programs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from .. import __version__
from ..analysis.study.study import Study
from ..analysis.summary import Summary, model_of
from .verdict_text import verdict

DOCUMENT_VERSION = 2


def document(study: Study) -> dict[str, Any]:
    """Return the report of some runs. Missing figures are null with their reason beside them, never zero."""
    return _clean(
        {
            "report": DOCUMENT_VERSION,
            "epid": __version__,
            "simulated": study.simulated,
            "verdict": verdict(study),
            "runs": [_run(summary) for summary in study.summaries],
            **study.to_map(),
        }
    )


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
        "meter": _meter(summary),
        "channels": [dataclasses.asdict(channel) | {"simulated": summary.simulated} for channel in summary.channels],
        "alignment_bound_us": summary.alignment_bound_us,
        "lag": dataclasses.asdict(summary.lag) if summary.lag is not None else None,
        "spans": len(summary.spans.columns["kind"]),
        "dropped_spans": summary.spans.dropped,
        "temperature_c": summary.temperature_c,
        "idle": dataclasses.asdict(summary.idle) | {"interval": summary.idle.interval.to_map()},
        **{kind: getattr(summary, kind).to_map() for kind in ("request", "prefill", "decode", "token")},
        **summary.epi.to_map(),
        "layers": [layer.to_map() for layer in summary.layers],
        "conservation": summary.conservation.to_map(),
        "warnings": list(summary.warnings),
    }


def _meter(summary: Summary) -> dict[str, Any]:
    track = summary.track
    return {
        "board_id": track.board_id,
        "channel": track.channel,
        "sample_hz": track.sample_hz,
        "samples": len(track),
        "lost_frames": summary.lost_frames,
        "dropped_by_board": track.dropped,
        "energy_step_j": track.quantum_j,
        "gain_sd": summary.gain.sd,
        "gain_source": summary.gain.source,
        "registers_over_integrated_power": summary.chains_ratio,
    }


def _clean(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot hold, by None."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
