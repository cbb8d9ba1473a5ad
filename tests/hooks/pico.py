"""Tiny models of each family, random weights, made in milliseconds."""

from __future__ import annotations

from typing import Any

LAYERS = 3
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": None,
    "bos_token_id": None,
}
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3")
OTHERS = ("olmo2", "qwen3_moe", "gpt2", "gpt_neox", "phi", "cohere")


def pico(family: str, **changes: Any) -> Any:
    """Return a model of a family, ready for inference."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(7)
    shape: dict[str, Any] = {**SHAPE, **changes}
    if family == "gpt2":
        shape = {"vocab_size": 64, "n_embd": 32, "n_layer": LAYERS, "n_head": 4, "eos_token_id": None, "bos_token_id": None}
    if family == "qwen3_moe":
        shape |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    if family in ("gpt_neox", "phi"):
        del shape["head_dim"], shape["num_key_value_heads"]
    if family in ("gemma2", "gemma3_text", "mistral"):
        shape["sliding_window"] = 16
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape)).eval()
