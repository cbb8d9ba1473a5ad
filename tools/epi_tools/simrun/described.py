"""A recorded inference as a few numbers: the timing of a truth, small enough to be kept as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from epi_protocol.events import KIND
from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.recorded import Recorded
from epi_tools.simrun.spans import Spans


def described(recorded: Recorded, name: str) -> str:
    """Return TOML: the model's shape, one median per layer and half in microseconds, and how much they scatter."""
    decoding = recorded.spans.where(recorded.spans.columns["phase"] == KIND["decode"])
    attention, ffn = decoding.of("attention"), decoding.of("ffn")
    if not len(attention) or not len(ffn):
        raise TruthError(
            f"{name} has no layers told apart into attention and feed-forward half, so it has no timing to describe."
        )
    tokens = recorded.spans.of("token")
    sections = {
        "model": _model(recorded),
        "workload": {"requests": 1, "tokens": max(1, len(tokens))},
        "timing": {
            "attention_us": _medians(attention),
            "ffn_us": _medians(ffn),
            "embedding_us": _median(_us(decoding.of("embedding"))),
            "head_us": _median(_us(decoding.of("head"))),
            "attention_us_per_position": 0.0,
            "jitter": _scatter(ffn),
            "token_jitter": round(float(np.std(_us(tokens)) / np.mean(_us(tokens))), 4),
        },
    }
    lines = [f"# Timing of a real inference: {name}"]
    for title, values in sections.items():
        lines += [f"\n[{title}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _model(recorded: Recorded) -> dict[str, Any]:
    """Shape as hookrun read it from the file; layers counted where the file was not told."""
    model = recorded.model
    first = {name: (model.get(name) or [0])[0] for name in ("n_head", "n_head_kv", "n_ff")}
    found = {
        "name": str(model.get("name", "recorded")),
        "n_layer": int(recorded.spans.columns["layer"].max()) + 1,
        "heads": first["n_head"],
        "kv_heads": first["n_head_kv"],
        "n_embd": int(model.get("n_embd", 0)),
        "n_ff": first["n_ff"],
    }
    return {key: value for key, value in found.items() if value}


def _us(spans: Spans) -> np.ndarray:
    return (spans.columns["end_ns"] - spans.columns["begin_ns"]) / 1e3


def _median(values: np.ndarray) -> float:
    return round(float(np.median(values)), 1) if len(values) else 0.0


def _medians(spans: Spans) -> list[float]:
    layers = spans.columns["layer"]
    return [_median(_us(spans)[layers == layer]) for layer in range(int(layers.max()) + 1)]


def _scatter(spans: Spans) -> float:
    """Relative scatter about each layer's own median, by the median, so that one interruption does not count."""
    medians = np.array(_medians(spans))[spans.columns["layer"]]
    return round(float(1.4826 * np.median(np.abs(_us(spans) / medians - 1))), 4)


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
