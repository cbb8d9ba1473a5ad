"""The stamps of one computation: which boundary was passed when, and the spans between them. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence

from epi_protocol.events import KIND

from ..sending.ring import SpanBlock

EMBEDDING_END = -1
REPEATED = 1 << 14
"""What is added to a layer's number in the marks of its repeated halves."""
_MOST_BLOCKS = 1 << 12


def attention_end(layer: int) -> int:
    """Return the mark of the end of a layer's attention half."""
    return 2 * layer


def layer_end(layer: int) -> int:
    """Return the mark of the end of a layer."""
    return 2 * layer + 1


def repeat_end(layer: int) -> int:
    """Return the mark of the end of a layer's repetition."""
    return -2 - layer


class Blocks:
    """The constant columns of each order of marks, made once: token after token brings the same order."""

    def __init__(self, without_attention: Collection[int]) -> None:
        self._without_attention = frozenset(without_attention)
        self._blocks: dict[tuple[int, ...], SpanBlock] = {}

    def block(self, marks: Sequence[int], *, tail: bool = True) -> SpanBlock:
        """Return kinds and layers of the spans that end at `marks`, and with `tail` of one more: the head."""
        key = (*marks, tail)
        block = self._blocks.get(key)
        if block is None:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            block = self._blocks[key] = self._made(marks, tail=tail)
        return block

    def _made(self, marks: Sequence[int], *, tail: bool) -> SpanBlock:
        spans = [self._span(mark, before) for before, mark in zip((None, *marks), marks, strict=False)]
        if tail:
            spans.append(("head", -1))
        return SpanBlock(array("B", [KIND[kind] for kind, _layer in spans]), array("h", [layer for _kind, layer in spans]))

    def _span(self, mark: int, before: int | None) -> tuple[str, int]:
        if mark == EMBEDDING_END:
            return "embedding", -1
        if mark < 0:
            return "repeat", -2 - mark
        number, is_end = divmod(mark, 2)
        layer = number % REPEATED
        halved = before == attention_end(number) or layer in self._without_attention
        half = "attention" if not is_end else "ffn" if halved else None
        if number < REPEATED:
            return half or "layer", layer
        return f"repeat_{half}" if half else "repeat", layer
