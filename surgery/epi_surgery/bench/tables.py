"""The report's tables, measured here: parameters by component (I), and latency and throughput (III)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

COMPONENTS = ("embedding and head", "attention", "feed-forward", "norms")
_LENGTHS = {"short": 16, "long": 64}
_NEW = (64, 256)


def parameters_by_component(model: Any) -> dict[str, int]:
    """Distinct parameters of each component; a tied head counts once, with the embedding."""
    found = dict.fromkeys(COMPONENTS, 0)
    for name, parameter in model.named_parameters():
        found[_component(name)] += parameter.numel()
    return found


def table_one(models: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each component and their sum: parameters in each model."""
    counts = {name: parameters_by_component(model) for name, model in models.items()}
    rows = [{"component": part, **{name: count[part] for name, count in counts.items()}} for part in COMPONENTS]
    return [*rows, {"component": "all", **{name: sum(count.values()) for name, count in counts.items()}}]


def forward_of_64(model: Any) -> Callable[[], object]:
    """The report's latency: one forward pass over 64 tokens."""
    tokens = torch.arange(64)[None] % model.config.vocab_size

    @torch.inference_mode()
    def run() -> object:
        return model(tokens, use_cache=False)

    return run


def throughput_cases() -> list[tuple[str, int, int, bool]]:
    """Short and long input, 64 and 256 new tokens, with and without a cache: the report's eight rows."""
    return [
        (f"{name}-{n_new}{'' if cache else ', no cache'}", n_prompt, n_new, cache)
        for cache in (True, False)
        for name, n_prompt in _LENGTHS.items()
        for n_new in _NEW
    ]


def generation(model: Any, n_prompt: int, n_new: int, use_cache: bool) -> Callable[[], object]:
    """Greedy generation of exactly `n_new` tokens."""
    tokens = torch.arange(n_prompt)[None] % model.config.vocab_size

    @torch.inference_mode()
    def run() -> object:
        return model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            min_new_tokens=n_new,
            max_new_tokens=n_new,
            use_cache=use_cache,
            pad_token_id=0,
        )

    return run


def _component(name: str) -> str:
    if "norm" in name and "self_attn" not in name:
        return "norms"
    if "self_attn" in name:
        return "attention"
    return "feed-forward" if ".mlp." in name else "embedding and head"
