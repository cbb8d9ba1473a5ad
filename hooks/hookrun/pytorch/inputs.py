"""What goes into one computation of a model, read from its arguments without touching a tensor's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TENSORS = ("input_ids", "inputs_embeds", "x", "idx", "tokens")
_CACHES = ("past_key_values", "past_key_value", "cache_params", "cache")


@dataclass(frozen=True, slots=True)
class Inputs:
    """`query` new tokens in each of `batch` sequences behind `past` ones (None: not known); `device` is that of the tensor."""

    batch: int
    query: int
    past: int | None
    device: Any


def read_inputs(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Inputs | None:
    """Return the inputs of a call, or None where no tensor of tokens is found."""
    tensor = next((kwargs[name] for name in _TENSORS if kwargs.get(name) is not None), args[0] if args else None)
    shape = getattr(tensor, "shape", None)
    if shape is None or not 1 <= len(shape) <= 3:
        return None
    batch, query = (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])
    return Inputs(int(batch), int(query), _past(kwargs), getattr(tensor, "device", None))


def _past(kwargs: Mapping[str, Any]) -> int | None:
    cache = next((kwargs[name] for name in _CACHES if kwargs.get(name) is not None), None)
    if cache is None:
        return 0
    if isinstance(cache, (tuple, list)):
        return int(cache[0][0].shape[-2]) if cache else 0
    return _length(cache)


def _length(cache: Any) -> int | None:
    """A length that lies in a tensor stays there: reading it would make the host wait for the device."""
    length = cache.get_seq_length() if hasattr(cache, "get_seq_length") else None
    return length if isinstance(length, int) else None
