"""Shapes to measure, with random weights: speed depends on shapes alone."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Shape:
    """A Llama's layer shapes; `n_layer` may be fewer than the real model has, since layers cost alike."""

    name: str
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_kv: int
    head_dim: int
    n_vocab: int


SHAPES = {
    "1b": Shape("Llama-3.2-1B layers, 4 of 16", 4, 2048, 8192, 32, 8, 64, 1000),
    "135m": Shape("SmolLM2-135M, all 30 layers", 30, 576, 1536, 9, 3, 64, 49152),
    "135m-group4": Shape("as SmolLM2-135M with 8 heads on 2 KV heads", 30, 512, 1536, 8, 2, 64, 49152),
}


def random_model(shape: Shape, dtype: torch.dtype, seed: int) -> Any:
    """A model of that shape; weights small enough that activations stay finite."""
    config = LlamaConfig(
        hidden_size=shape.n_embd,
        intermediate_size=shape.n_ff,
        num_hidden_layers=shape.n_layer,
        num_attention_heads=shape.n_head,
        num_key_value_heads=shape.n_kv,
        head_dim=shape.head_dim,
        vocab_size=shape.n_vocab,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
    )
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to(dtype).to_empty(device="cpu")
    model.tie_weights()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        parameter.fill_(1.0) if "norm" in name else parameter.normal_(0.0, 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()
