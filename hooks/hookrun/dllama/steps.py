"""The steps of one forward pass of distributed-llama, and which of them end a half of a layer. Pure.

One step per operation; with more than one node, one step of synchronisation behind each segment. Segments: the embedding, then
attention and feed-forward of each layer, then the output head (NnExecutor of version 0.16). What a half adds to the residual
stream is added at the beginning of the next segment, and counted there.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from epi_protocol.events import KIND

from ..sending.ring import SpanBlock
from .model_file import ModelFile

EMBEDDING_OPS = 1
_QK_NORM_OPS = 4
"""Qwen 3 norms queries and keys, each in two operations."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations per segment. With Q40 weights whatever enters a multiplication is first cast to Q80, an operation of its own."""

    attention: int
    ffn: int
    head: int


OPERATIONS = {
    ("llama", "Q40"): Operations(15, 11, 6),
    ("llama", "F32"): Operations(14, 9, 5),
    ("qwen3", "Q40"): Operations(15 + _QK_NORM_OPS, 11, 6),
    ("qwen3", "F32"): Operations(14 + _QK_NORM_OPS, 9, 5),
}
"""By architecture and weight type; counted for LLAMA with Q40 weights in a run, for the others in the source (src/llm.cpp). A run
whose program asks its timer another number of times is recorded without layers, so a list that is wrong is never used."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Span i of `block` ends with step `ends[i]` out of `steps`."""

    steps: int
    ends: tuple[int, ...]
    block: SpanBlock

    @property
    def clock_calls(self) -> int:
        """Return how often the program's timer asks for the time in one forward pass: once before, twice behind each step."""
        return 1 + 2 * self.steps


def step_plan(model: ModelFile, nodes: int) -> StepPlan | None:
    """Return the plan of the root's forward pass; None for models whose steps are not known."""
    operations = OPERATIONS.get((model.architecture, model.weight_type))
    if operations is None:
        return None
    halves = (("attention", operations.attention), ("ffn", operations.ffn))
    segments = [("embedding", -1, EMBEDDING_OPS)]
    segments += [(kind, layer, count) for layer in range(model.n_layer) for kind, count in halves]
    segments.append(("head", -1, operations.head))
    spans: list[tuple[int, str, int]] = []
    steps = 0
    for kind, layer, count in segments:
        steps += count
        spans.append((steps - 1, kind, layer))
        if nodes > 1:
            steps += 1
            spans.append((steps - 1, "sync", layer))
    kinds, layers = array("B", [KIND[kind] for _, kind, _ in spans]), array("h", [layer for _, _, layer in spans])
    return StepPlan(steps, tuple(end for end, _, _ in spans), SpanBlock(kinds, layers))
