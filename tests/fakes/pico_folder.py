"""Hugging Face model folders made on the spot: random weights, a byte-level tokenizer, a few thousand parameters."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
SHAPE = {
    "vocab_size": 260,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}


def pico_model(family: str = "llama", seed: int = 0, tied: bool = True, **changes: object) -> PreTrainedModel:
    """A model in memory; weights large enough that heads differ in what they do."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **{**SHAPE, "tie_word_embeddings": tied, **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=2.0 * parameter.shape[1] ** -0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_folder(path: Path, family: str = "llama", seed: int = 0, shard: str = "10GB", **changes: object) -> Path:
    """Save such a model with its tokenizer; `shard` as transformers takes it (`60KB` makes several files)."""
    pico_model(family, seed, **changes).save_pretrained(path, max_shard_size=shard)  # type: ignore[arg-type]
    byte_tokenizer().save_pretrained(path)
    return path


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and three special ones after them."""
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
