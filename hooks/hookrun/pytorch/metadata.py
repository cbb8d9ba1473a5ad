"""What is written down about a model and the torch that runs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .anatomy import Decoder, attention_of, mlp_of
from .inputs import Inputs
from .weights import weights_map

_QUERY = ("q_proj", "query", "wq")
_KEY = ("k_proj", "key", "wk")
_FIRST_LINEAR = ("gate_proj", "up_proj", "c_fc", "dense_h_to_4h", "fc1", "w1")


def engine_version(torch: ModuleType) -> str:
    """Return torch's version, and transformers' where the program uses it."""
    transformers = sys.modules.get("transformers")
    version = f"torch {torch.__version__}"
    return version if transformers is None else f"{version}, transformers {getattr(transformers, '__version__', '?')}"


def model_name(module: Any) -> str:
    """Return what the model calls itself."""
    path = str(getattr(getattr(module, "config", None), "_name_or_path", "") or "")
    return Path(path).name if path else type(module).__name__


def torch_settings(torch: ModuleType, inputs: Inputs) -> dict[str, Any]:
    """Return what has to be equal for two runs to be comparable."""
    on_host = inputs.device is None or inputs.device.type == "cpu"
    return {
        "engine": engine_version(torch),
        "threads": torch.get_num_threads(),
        "device": str(inputs.device),
        "stamps": {"mode": "calls", "by": "Python" if on_host else "device events"},
    }


def model_map(module: Any, decoder: Decoder) -> dict[str, Any]:
    """Return the `model` map of a run: the model's own configuration, and counts per layer as its weights have them."""
    config = getattr(module, "config", None)
    layers = list(decoder.layers)
    parameter = next(iter(module.parameters()), None)
    return {
        "name": model_name(module),
        "architecture": str(getattr(config, "model_type", type(module).__name__)),
        "quantisation": str(getattr(parameter, "dtype", "none")).removeprefix("torch."),
        "parameters": sum(weight.numel() for weight in module.parameters()),
        "n_layer": len(layers),
        "n_head": [_heads(layer, _QUERY, config, "num_attention_heads") for layer in layers],
        "n_head_kv": [_heads(layer, _KEY, config, "num_key_value_heads") for layer in layers],
        "n_embd": getattr(config, "hidden_size", None),
        "n_ff": [_width(mlp_of(layer), config) for layer in layers],
        "n_ctx_train": getattr(config, "max_position_embeddings", None),
        "attention": getattr(config, "_attn_implementation", None),
        **weights_map(str(getattr(config, "_name_or_path", "") or "")),
    }


def _heads(layer: Any, names: Sequence[str], config: Any, key: str) -> int | None:
    """Return the heads of a layer: by its weights where they tell, for a cut model's configuration may not."""
    attention = attention_of(layer)
    if attention is None:
        return 0
    head_dim = getattr(attention, "head_dim", None)
    rows = _rows(attention, names)
    if isinstance(head_dim, int) and head_dim and rows is not None:
        return rows // head_dim
    value = getattr(config, key, None)
    return value if isinstance(value, int) else None


def _width(mlp: Any, config: Any) -> int | None:
    if mlp is None:
        return 0
    rows = _rows(mlp, _FIRST_LINEAR)
    value = getattr(config, "intermediate_size", None)
    return rows if rows is not None else value if isinstance(value, int) else None


def _rows(module: Any, names: Sequence[str]) -> int | None:
    linear = next((module._modules[name] for name in names if module._modules.get(name) is not None), None)
    rows = getattr(linear, "out_features", None)
    return rows if isinstance(rows, int) else None
