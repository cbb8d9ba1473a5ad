"""Weight norms per head from a folder's safetensors: the sums of `epi_surgery.norms`, for models that are no GGUF."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from epi_surgery.model.safetensors_header import read_shapes, weight_files
from epi_surgery.model.source import Source
from epi_surgery.norms import Scores

Read = Callable[[str], Tensor]


def folder_norms(source: Source, order: int, advance: Callable[[int], None]) -> Scores:
    """Per query head the sum of the norms (L1 or L2) of its slices of q, k, v and o, k and v being the group's."""
    config = source.config or {}
    n_head = int(config["num_attention_heads"])
    n_kv = int(config.get("num_key_value_heads") or n_head)
    rows = []
    with _tensors(source.path) as read:
        for layer in range(int(config["num_hidden_layers"])):
            rows.append(tuple(_layer_norms(read, layer, n_head, n_kv, order).tolist()))
            advance(1)
    return tuple(rows)


def _layer_norms(read: Read, layer: int, n_head: int, n_kv: int, order: int) -> Tensor:
    q, k, v, o = (read(f"model.layers.{layer}.self_attn.{part}_proj.weight").double() for part in "qkvo")
    query, output = _slices(q, n_head, order), _slices(o.T, n_head, order)
    shared = _slices(k, n_kv, order) + _slices(v, n_kv, order)
    return query + output + shared.repeat_interleave(n_head // n_kv)


def _slices(weight: Tensor, n: int, order: int) -> Tensor:
    return torch.linalg.vector_norm(weight.reshape(n, -1), ord=order, dim=1)


@contextmanager
def _tensors(folder: Path) -> Iterator[Read]:
    with ExitStack() as stack:
        where: dict[str, Any] = {}
        for file in weight_files(folder):
            shard = stack.enter_context(safe_open(file, framework="pt"))
            where.update(dict.fromkeys(read_shapes(file), shard))
        yield lambda name: where[name].get_tensor(name)
