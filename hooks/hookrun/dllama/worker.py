"""A node that helps: what goes over its sockets, put together into spans.

The root opens each forward pass with a control packet of 8 bytes (position and batch size) and the embedded tokens. Behind each
half of a layer a worker sends its share to every other node and then reads theirs, so on each socket sends and receptions take
turns; last of all it sends its share of the logits to the root alone. A half is computed between the last byte read and the
first byte sent. A last batch of the prompt that holds one token looks like a decoded one here.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from epi_protocol.events import KIND

from ..sending.ring import SpanBlock, SpanRing
from .feed import Mark, MarkKind

PREFILL, DECODE = KIND["prefill"], KIND["decode"]
CONTROL_BYTES = 8
_MOST_TOKENS = 4096


@dataclass
class _Turn:
    """On one socket: what was sent without reading in between, and what was read behind it."""

    sent_ns: list[int] = field(default_factory=list)  # begin of the first and end of the last send
    sent_bytes: int = 0
    read_end_ns: int = 0


class WorkerSpans:
    """Writes the spans of each forward pass when the next one begins. `unmapped` counts passes whose turns make no layers."""

    def __init__(self, ring: SpanRing) -> None:
        self.forwards = self.unmapped = 0
        self._ring = ring
        self._control: Mark | None = None
        self._marks: list[Mark] = []
        self._request, self._token, self._position = -1, 0, -1
        self._layers = 0  # most seen: a pass with fewer was broken off
        self._blocks: dict[int, SpanBlock] = {}

    def mark(self, mark: Mark) -> None:
        """Take what the shim saw."""
        if _tokens(mark):
            self.finish()
            self._control = mark
        elif self._control is not None and _ends(mark, self._control):
            self.finish()
        elif self._control is not None and mark.kind is not MarkKind.FLUSH:
            self._marks.append(mark)

    def finish(self) -> None:
        """Write the last forward pass; the marks of one that was broken off are counted."""
        control, marks, self._control, self._marks = self._control, self._marks, None, []
        if control is None or not marks:
            return
        boundaries_ns = _boundaries(control, marks)
        layers = 0 if boundaries_ns is None else len(boundaries_ns) // 4 - 1
        if boundaries_ns is None or layers < self._layers:
            self.unmapped += 1
            return
        self._layers = layers
        self.forwards += 1
        self._write(control, boundaries_ns)

    def _write(self, control: Mark, boundaries_ns: Sequence[int]) -> None:
        tokens, position = _tokens(control), control.value & 0xFFFFFFFF
        if position <= self._position or self._request < 0:
            self._request, self._token = self._request + 1, 0
        self._position = position
        phase = PREFILL if tokens > 1 else DECODE
        number = -1 if tokens > 1 else self._token
        block = self._block(self._layers)
        self._ring.push_block(block, boundaries_ns, phase=phase, request=self._request, token=number, count=tokens)
        kind, begin_ns, end_ns = "prefill" if tokens > 1 else "token", boundaries_ns[0], boundaries_ns[-1]
        self._ring.push(kind, begin_ns, end_ns, phase=phase, request=self._request, token=number, count=tokens, batch=1)
        self._token += tokens == 1

    def _block(self, layers: int) -> SpanBlock:
        if layers not in self._blocks:
            names = ["sync", *(["attention", "sync", "ffn", "sync"] * layers), "head", "sync"]
            numbers = [-1, *(layer for layer in range(layers) for _ in range(4)), -1, -1]
            self._blocks[layers] = SpanBlock(array("B", [KIND[name] for name in names]), array("h", numbers))
        return self._blocks[layers]


def _tokens(mark: Mark) -> int:
    """Return the batch size that a control packet asks for; 0 where the mark is none."""
    if mark.kind is not MarkKind.RECEIVED or mark.bytes != CONTROL_BYTES:
        return 0
    tokens = mark.value >> 32
    return tokens if tokens <= _MOST_TOKENS else 0


def _ends(mark: Mark, control: Mark) -> bool:
    """Return whether this is the packet that ends a request: the last position again, and a batch of no tokens."""
    position = control.value & 0xFFFFFFFF
    packet = mark.kind is MarkKind.RECEIVED and mark.bytes == CONTROL_BYTES and mark.socket == control.socket
    return packet and mark.value in (position, 0)


def _boundaries(control: Mark, marks: Sequence[Mark]) -> list[int] | None:
    """Return where the spans of a forward pass meet; None where the sockets' turns are not those of whole layers.

    Spans: reading the embedding, then per layer attention, exchange, feed-forward, exchange; then the head and its sending.
    """
    sockets = _turns(marks)
    root = sockets.pop(control.socket, [])
    exchanges = len(root) - 2  # without the reading before the first one, and the sending of the logits behind the last
    if exchanges < 2 or exchanges % 2 or any(len(turns) != exchanges + 1 for turns in sockets.values()):
        return None
    if root[-1].read_end_ns or root[-1].sent_bytes == root[-2].sent_bytes:
        return None  # what was sent last are no logits: the pass was broken off
    boundaries_ns = [control.end_ns, root[0].read_end_ns]
    for number in range(1, exchanges + 1):
        turns = [root[number], *(turns[number] for turns in sockets.values())]
        boundaries_ns += [min(turn.sent_ns[0] for turn in turns), max(turn.read_end_ns for turn in turns)]
    boundaries_ns += [root[-1].sent_ns[0], root[-1].sent_ns[1]]
    return boundaries_ns if all(before <= after for before, after in pairwise(boundaries_ns)) else None


def _turns(marks: Sequence[Mark]) -> dict[int, list[_Turn]]:
    """Return each socket's turns; the first one holds what was read before anything was sent."""
    sockets: dict[int, list[_Turn]] = {}
    for mark in marks:
        turns = sockets.setdefault(mark.socket, [_Turn()])
        if mark.kind is MarkKind.RECEIVED:
            turns[-1].read_end_ns = mark.end_ns
        elif turns[-1].sent_ns and not turns[-1].read_end_ns:
            turns[-1].sent_ns[1] = mark.end_ns
            turns[-1].sent_bytes += mark.bytes
        else:
            turns.append(_Turn([mark.begin_ns, mark.end_ns], mark.bytes))
    return sockets
