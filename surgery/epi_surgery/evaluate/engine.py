"""What an evaluation asks of an engine: tokens of a text, and log-probabilities along a prefix tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from epi_surgery.evaluate.prefix_tree import PrefixTree

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What one forward pass takes: nodes of a tree, and sequences in it."""

    nodes: int = 512
    sequences: int = 64


class Engine(Protocol):
    """A loaded model; to be closed. `bos` is the token that begins a text, None where the model has none."""

    name: str
    bos: int | None
    limits: Limits

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special ones."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """The tokens as text."""

    def log_probs(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """ln p(token of the node | its ancestors) for each of `nodes`; none of them may be a root."""

    def logits(self, tree: PrefixTree, nodes: Sequence[int]) -> Floats:
        """What follows each of `nodes`, (node, vocabulary), unnormalised."""

    def close(self) -> None:
        """Free the model."""


def log_softmax(logits: Floats) -> Floats:
    """Over the last axis, in float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def log_sum_exp(row: Floats) -> float:
    """What log-softmax takes off each of a row's logits."""
    top = row.max()
    return float(top + np.log(np.exp(row - top).sum()))
