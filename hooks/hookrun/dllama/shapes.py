"""Shapes that distributed-llama 0.16 turns into garbage, a failed assertion or a crash, refused before it starts."""

from __future__ import annotations

from ..errors import HookrunError
from .model_file import ModelFile


def check_shapes(model: ModelFile, nodes: int) -> None:
    """Raise HookrunError where this model cannot run on so many nodes; says what would happen, and what would fit."""
    n_head, n_head_kv = model.n_head, model.n_head_kv
    fitting = [n for n in range(1, n_head_kv + 1) if not n_head % n and not n_head_kv % n]
    where = f"{model.path}: {n_head} query heads and {n_head_kv} key/value heads"
    if n_head % n_head_kv:
        raise HookrunError(
            f"{where} do not divide; distributed-llama would run it and generate garbage. Pad the heads or cut others"
        )
    if nodes not in fitting:
        raise HookrunError(
            f"{where} cannot be shared among {nodes} nodes; distributed-llama would abort or generate garbage. "
            f"Use {_or(fitting)} nodes in all, the root included"
        )
    if model.file_bytes != model.expected_bytes:
        hint = "" if model.head_dim_given else "; does the header lack HEAD_DIM, as a model with cut heads needs it?"
        raise HookrunError(
            f"{model.path} holds {model.file_bytes} bytes and its shapes ask for {model.expected_bytes}; "
            f"distributed-llama would crash. Convert or copy it again{hint}"
        )
    _check_blocks(model, nodes)


def _check_blocks(model: ModelFile, nodes: int) -> None:
    """Q40 weights come in blocks of 32; each node's share of a row has to be made of whole ones."""
    shares = {
        "vocabulary": (model.vocabulary, 1),
        "dim": (model.dim, 32),
        "hidden_dim": (model.hidden_dim, 32),
        "query heads times head_dim": (model.n_head * model.head_dim, 32),
    }
    for name, (size, block) in shares.items():
        share = nodes if name != "dim" else 1
        unit = share * (block if model.weight_type == "Q40" else 1)
        if size % unit:
            needed = f"no multiple of {unit}, which {nodes} nodes with {model.weight_type} weights need"
            raise HookrunError(f"{model.path}: {name} {size} is {needed}; distributed-llama would abort. Use fewer nodes")


def _or(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))
