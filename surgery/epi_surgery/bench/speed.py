"""What is timed: a prefill, or one decoded token behind a context of a given length."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache

Point = tuple[str, int]
POINTS: tuple[Point, ...] = (("prefill", 64), ("decode", 64), ("decode", 512), ("decode", 2048))


def workload(model: Any, point: Point) -> Callable[[], object]:
    """A function that does the point's work once."""
    kind, length = point
    tokens = torch.arange(length)[None] % model.config.vocab_size
    return Decode(model, tokens) if kind == "decode" else partial(_prefill, model, tokens)


class Decode:
    """Decodes a few tokens behind a context, one at a time, and then forgets them."""

    def __init__(self, model: Any, context: torch.Tensor, n_steps: int = 4) -> None:
        self.cache = DynamicCache()
        self._model, self._steps = model, context[:, torch.arange(n_steps) % context.shape[1]]
        with torch.inference_mode():
            model(context, past_key_values=self.cache, use_cache=True, logits_to_keep=1)

    @torch.inference_mode()
    def __call__(self) -> None:
        for token in self._steps.split(1, dim=1):
            self._model(token, past_key_values=self.cache, use_cache=True)
        self.cache.crop(-self._steps.shape[1])


@torch.inference_mode()
def _prefill(model: Any, tokens: torch.Tensor) -> object:
    return model(tokens, use_cache=False, logits_to_keep=1)
