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

EMBEDDING_OPS, ATTENTION_OPS, FFN_OPS, HEAD_OPS = 1, 15, 11, 6
"""Operations per segment of a LLAMA model with Q40 weights and Q80 buffers."""


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
    if (model.architecture, model.weight_type) != ("llama", "Q40"):
        return None
    halves = (("attention", ATTENTION_OPS), ("ffn", FFN_OPS))
    segments = [("embedding", -1, EMBEDDING_OPS)]
    segments += [(kind, layer, operations) for layer in range(model.n_layer) for kind, operations in halves]
    segments.append(("head", -1, HEAD_OPS))
    spans: list[tuple[int, str, int]] = []
    steps = 0
    for kind, layer, operations in segments:
        steps += operations
        spans.append((steps - 1, kind, layer))
        if nodes > 1:
            steps += 1
            spans.append((steps - 1, "sync", layer))
    kinds, layers = array("B", [KIND[kind] for _, kind, _ in spans]), array("h", [layer for _, _, layer in spans])
    return StepPlan(steps, tuple(end for end, _, _ in spans), SpanBlock(kinds, layers))
