"""The simulated decoder: its heads after the cut, and what `hookrun` would say about its file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from epi_tools.simrun.truth import Accuracy, Model, Truth

_BYTES_PER_WEIGHT = 0.5625  # Q4_0: 18 bytes for 32 weights
_CACHE_BYTES = 2
_CONTEXT = 64


@dataclass(frozen=True, slots=True)
class Heads:
    """Query heads and KV heads that one layer keeps."""

    query: tuple[int, ...]
    kv: tuple[int, ...]


def kept_heads(model: Model) -> tuple[Heads, ...]:
    """What each layer keeps. Layers lose whole steps of the layout, and what rounding leaves over goes to the next one."""
    group, kept, done = model.heads // model.kv_heads, [], 0
    steps = group if model.layout == "balanced" else model.kv_heads
    cut = _cut_layers(model)
    for layer in range(model.n_layer):
        wanted = round(model.pruned * steps * sum(cut[: layer + 1]) + 1e-9)
        gone = min(max(0, wanted - done), steps - 1) if cut[layer] else 0
        done += gone
        kept.append(_without(model, gone))
    return tuple(kept)


def _cut_layers(model: Model) -> tuple[bool, ...]:
    """Which layers may lose heads: all, the first quarter or the last quarter of them."""
    quarter = max(1, model.n_layer // 4)
    first, end = {"early": (0, quarter), "late": (model.n_layer - quarter, model.n_layer)}.get(
        model.pruned_layers, (0, model.n_layer)
    )
    return tuple(first <= layer < end for layer in range(model.n_layer))


def _without(model: Model, gone: int) -> Heads:
    group = model.heads // model.kv_heads
    if model.layout == "groups":
        return Heads(tuple(range(model.heads - gone * group)), tuple(range(model.kv_heads - gone)))
    query = tuple(kv * group + at for kv in range(model.kv_heads) for at in range(group - gone))
    return Heads(query, tuple(range(model.kv_heads)))


def attention_share(model: Model, saved: float) -> np.ndarray:
    """What is left of each layer's time for attention after the cut, shape (n_layer,).

    Query heads take `saved` of their share of the time with them; a KV head that goes as well takes the rest of it too.
    """
    kept = kept_heads(model)
    query = 1 - np.array([len(layer.query) for layer in kept]) / model.heads
    kv = 1 - np.array([len(layer.kv) for layer in kept]) / model.kv_heads
    return np.asarray(1 - saved * query - (1 - saved) * kv)


def model_map(truth: Truth, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """The `model` of run_begin: header, plan of the cut where there is one, accuracy where it was asked for."""
    model, kept, whole = truth.model, kept_heads(truth.model), kept_heads(replace(truth.model, pruned=0.0))
    name = model.name if kept == whole else f"{model.name}-{truth.arm}"
    described: dict[str, Any] = {
        "file": f"{name}.gguf",
        "name": name,
        "sha256": _sha256(truth),
        "file_bytes": round(_weights(model, kept) * _BYTES_PER_WEIGHT),
        "architecture": "llama",
        "quantisation": "Q4_0",
        "n_layer": model.n_layer,
        "n_head": [len(layer.query) for layer in kept],
        "n_head_kv": [len(layer.kv) for layer in kept],
        "n_embd": model.n_embd,
        "n_ff": [model.n_ff] * model.n_layer,
        "n_ctx_train": 2048,
        "simulated": True,
    }
    if kept != whole:
        described["plan"] = _plan(truth, kept, whole)
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


def _plan(truth: Truth, kept: tuple[Heads, ...], whole: tuple[Heads, ...]) -> dict[str, Any]:
    """The plan as the surgery writes it, as far as an analysis reads it."""
    model, head_dim = truth.model, truth.model.n_embd // truth.model.heads
    query, kv = ([sum(len(getattr(layer, side)) for layer in arm) for arm in (whole, kept)] for side in ("query", "kv"))
    weights = [_weights(model, arm) for arm in (whole, kept)]
    stored = [round(count * _BYTES_PER_WEIGHT) for count in weights]
    cache = _CONTEXT * 2 * head_dim
    flops = [2 * count + 2 * cache * heads for count, heads in zip(weights, query, strict=True)]
    read = [count + _CACHE_BYTES * cache * heads for count, heads in zip(stored, kv, strict=True)]
    return {
        "format": "epi-surgery plan",
        "version": 2,
        "model": {"name": model.name, "sha256": hashlib.sha256(model.name.encode()).hexdigest(), "n_bytes": stored[0]},
        "architecture": {
            "name": "llama",
            **{name: getattr(model, name) for name in ("n_layer", "n_embd", "n_vocab")},
            "head_dim_k": head_dim,
            "head_dim_v": head_dim,
            "n_head": [model.heads] * model.n_layer,
            "n_kv": [model.kv_heads] * model.n_layer,
            "n_ff": [model.n_ff] * model.n_layer,
        },
        "criterion": "simulated",
        "aim": {
            "fraction": model.pruned,
            "layout": model.layout,
            "target": model.pruned_layers,
            "spread": "layer",
            "protected": [],
            "attention_free": False,
        },
        "layers": [{"query": list(layer.query), "kv": list(layer.kv)} for layer in kept],
        "shares": {
            "query_heads": _count(*query),
            "kv_heads": _count(*kv),
            "parameters": _count(*weights),
            "tensor_bytes": _count(*stored),
        },
        "per_token": {"context": _CONTEXT, "flops": _count(*flops), "read_bytes": _count(*read)},
        "engine": "llama.cpp",
        "nodes": 1,
        "k_quants": False,
    }


def _count(before: int, after: int) -> dict[str, Any]:
    return {"before": before, "after": after, "removed_share": round((before - after) / before, 6)}


def _weights(model: Model, kept: tuple[Heads, ...]) -> int:
    """Weights that one token meets: four matrices of attention, three of the feed-forward half, the output head."""
    head_dim = model.n_embd // model.heads
    heads = sum(len(layer.query) + len(layer.kv) for layer in kept)
    return 2 * model.n_embd * head_dim * heads + model.n_layer * 3 * model.n_embd * model.n_ff + model.n_vocab * model.n_embd


def _sha256(truth: Truth) -> str:
    """A stand-in for the file's hash: the same model has the same one in every run."""
    return hashlib.sha256(json.dumps([truth.arm, str(truth.model), str(Accuracy())]).encode()).hexdigest()
