"""The configuration that transformers needs, from a GGUF's metadata."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.metadata import entry_value

# GGUF architecture -> model type of transformers. llama.cpp stores Mistral as `llama` and per-layer counts as `deci`.
MODEL_TYPES = {"llama": "llama", "deci": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_UNSCALED = ("", "none")


def config_of(model: GgufFile) -> PretrainedConfig:
    """The configuration of the uncut shape: counts of the layer with most heads, `head_dim` always said."""
    arch = model.text("general.architecture")
    if arch not in MODEL_TYPES:
        raise UnsupportedModel(f"{model.path}: architecture '{arch}' is not supported; these are: {', '.join(MODEL_TYPES)}")
    scaling = model.text(f"{arch}.rope.scaling.type")
    if scaling not in _UNSCALED:
        raise UnsupportedModel(f"{model.path}: the key {arch}.rope.scaling.type is '{scaling}', which is not supported")
    n_layer = model.number(f"{arch}.block_count")
    n_head = _most(model, f"{arch}.attention.head_count")
    n_embd = model.number(f"{arch}.embedding_length")
    settings: dict[str, Any] = {
        "num_hidden_layers": n_layer,
        "hidden_size": n_embd,
        "head_dim": model.number(f"{arch}.attention.key_length", n_embd // n_head if n_head else 0),
        "intermediate_size": _most(model, f"{arch}.feed_forward_length"),
        "vocab_size": model.tensors["token_embd.weight"].shape[1],
        "max_position_embeddings": model.number(f"{arch}.context_length"),
        "rms_norm_eps": _real(model, f"{arch}.attention.layer_norm_rms_epsilon", 1e-5),
        "rope_parameters": {"rope_type": "default", "rope_theta": _real(model, f"{arch}.rope.freq_base", 10000.0)},
        "tie_word_embeddings": "output.weight" not in model.tensors,
        "bos_token_id": _token(model, "bos"),
        "eos_token_id": _token(model, "eos"),
    }
    config = AutoConfig.for_model(MODEL_TYPES[arch], num_attention_heads=1, num_key_value_heads=1, **settings)
    # Set afterwards: the Llama configuration refuses counts that do not divide the width, though the model computes with them.
    config.num_attention_heads = n_head
    config.num_key_value_heads = _most(model, f"{arch}.attention.head_count_kv", n_head)
    return config


def _most(model: GgufFile, key: str, default: int | None = None) -> int:
    entry = model.entries.get(key)
    value = default if entry is None else entry_value(entry)
    if isinstance(value, tuple):
        return int(max(value))
    if not isinstance(value, int):
        raise UnsupportedModel(f"{model.path}: the key {key} is {'missing' if value is None else 'not a number'}")
    return value


def _real(model: GgufFile, key: str, default: float) -> float:
    entry = model.entries.get(key)
    value = default if entry is None else entry_value(entry)
    if not isinstance(value, int | float):
        raise UnsupportedModel(f"{model.path}: the key {key} is not a number")
    return float(value)


def _token(model: GgufFile, name: str) -> int | None:
    key = f"tokenizer.ggml.{name}_token_id"
    return model.number(key) if key in model.entries else None
