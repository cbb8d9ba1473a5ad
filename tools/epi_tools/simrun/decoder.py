"""The simulated decoder: its heads after the cut, and what `hookrun` would say about its file."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from epi_tools.simrun.truth import Accuracy, Model, Truth

_BYTES_PER_WEIGHT = 0.5625  # Q4_0: 18 bytes for 32 weights
_CACHE_BYTES = 2
_CONTEXT = 64


def cut_layers(model: Model) -> tuple[bool, ...]:
    """Which layers lose heads: all, the first quarter or the last quarter of them."""
    quarter = max(1, model.n_layer // 4)
    first, end = {"early": (0, quarter), "late": (model.n_layer - quarter, model.n_layer)}.get(
        model.pruned_layers, (0, model.n_layer)
    )
    return tuple(first <= layer < end for layer in range(model.n_layer))


def kept_heads(model: Model) -> tuple[int, ...]:
    """Query heads of each layer after the cut: as many gone from every KV group, and one at least stays in each."""
    group = model.heads // model.kv_heads
    gone = min(group - 1, round(model.pruned * group))
    return tuple(model.heads - gone * model.kv_heads * cut for cut in cut_layers(model))


def model_map(truth: Truth, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """The `model` of run_begin: header, plan of the cut where there is one, accuracy where it was asked for."""
    model, kept = truth.model, kept_heads(truth.model)
    name = model.name if kept == (model.heads,) * model.n_layer else f"{model.name}-{truth.arm}"
    described: dict[str, Any] = {
        "file": f"{name}.gguf",
        "name": name,
        "sha256": _sha256(truth),
        "file_bytes": round(_weights(model, kept) * _BYTES_PER_WEIGHT),
        "architecture": "llama",
        "quantisation": "Q4_0",
        "n_layer": model.n_layer,
        "n_head": list(kept),
        "n_head_kv": [model.kv_heads] * model.n_layer,
        "n_embd": model.n_embd,
        "n_ff": [model.n_ff] * model.n_layer,
        "n_ctx_train": 2048,
        "simulated": True,
    }
    if kept != (model.heads,) * model.n_layer:
        described["plan"] = _plan(truth, kept)
    if evaluation is not None:
        described |= {"eval": evaluation, "eval_matches": True}
    return described


def evaluation(truth: Truth, rng: np.random.Generator) -> dict[str, Any] | None:
    """What `epi-surgery eval` would find: correct answers drawn from the true accuracy; None where n is 0."""
    accuracy = truth.accuracy
    if not accuracy.n:
        return None
    correct = int(rng.binomial(accuracy.n, accuracy.value))
    found = {"correct": correct, "n": accuracy.n, "value": correct / accuracy.n, "interval": _wilson(correct, accuracy.n)}
    return {
        "format": "epi-surgery eval",
        "version": 1,
        "model": {"name": truth.model.name, "file": f"{truth.model.name}.gguf", "sha256": _sha256(truth), "n_bytes": 0},
        "engine": "simulated",
        "bos": True,
        "accuracy": {"task": accuracy.task, **found, "categories": {}},
        "perplexity": None,
        "kl": None,
        "utc": "",
    }


def _wilson(correct: int, n: int, z: float = 1.959963984540054) -> list[float]:
    """Wilson's score interval at 95 % (Wilson 1927, JASA 22)."""
    share, z2 = correct / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return [max(0.0, centre - half), min(1.0, centre + half)]


def _plan(truth: Truth, kept: tuple[int, ...]) -> dict[str, Any]:
    model = truth.model
    whole = (model.heads,) * model.n_layer
    head_dim = model.n_embd // model.heads
    layers = [{"query": _kept_of_each_group(model, count), "kv": list(range(model.kv_heads))} for count in kept]
    weights = {"before": _weights(model, whole), "after": _weights(model, kept)}
    stored = {"before": round(weights["before"] * _BYTES_PER_WEIGHT), "after": round(weights["after"] * _BYTES_PER_WEIGHT)}
    cache = _CONTEXT * 2 * head_dim
    kv = model.kv_heads * model.n_layer
    return {
        "format": "epi-surgery plan",
        "version": 1,
        "model": {"name": model.name, "sha256": hashlib.sha256(model.name.encode()).hexdigest(), "n_bytes": stored["before"]},
        "architecture": {
            "name": "llama",
            **{name: getattr(model, name) for name in ("n_layer", "n_embd", "n_vocab")},
            "head_dim_k": head_dim,
            "head_dim_v": head_dim,
            "n_head": list(whole),
            "n_kv": [model.kv_heads] * model.n_layer,
            "n_ff": [model.n_ff] * model.n_layer,
        },
        "criterion": "simulated",
        "aim": {"fraction": model.pruned, "layout": "heads", "target": model.pruned_layers, "uniform": True},
        "layers": layers,
        "shares": {
            "query_heads": _count(sum(whole), sum(kept)),
            "kv_heads": _count(kv, kv),
            "parameters": _count(weights["before"], weights["after"]),
            "tensor_bytes": _count(stored["before"], stored["after"]),
        },
        "per_token": {
            "context": _CONTEXT,
            "flops": _count(*(2 * weights[at] + 2 * cache * sum(heads) for at, heads in (("before", whole), ("after", kept)))),
            "read_bytes": _count(*(stored[at] + _CACHE_BYTES * cache * kv for at in ("before", "after"))),
        },
        "engine": "llama.cpp",
    }


def _count(before: int, after: int) -> dict[str, Any]:
    return {"before": before, "after": after, "removed_share": round((before - after) / before, 6)}


def _weights(model: Model, heads: tuple[int, ...]) -> int:
    """Weights that one token meets: four matrices of attention, three of the feed-forward half, the output head."""
    head_dim = model.n_embd // model.heads
    attention = sum(2 * model.n_embd * head_dim * count + 2 * model.n_embd * head_dim * model.kv_heads for count in heads)
    return attention + model.n_layer * 3 * model.n_embd * model.n_ff + model.n_vocab * model.n_embd


def _kept_of_each_group(model: Model, count: int) -> list[int]:
    group, stays = model.heads // model.kv_heads, count // model.kv_heads
    return [kv * group + at for kv in range(model.kv_heads) for at in range(stays)]


def _sha256(truth: Truth) -> str:
    """A stand-in for the file's hash: the same model has the same one in every run."""
    return hashlib.sha256(json.dumps([truth.arm, str(truth.model), str(Accuracy())]).encode()).hexdigest()
