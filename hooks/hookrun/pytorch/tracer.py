"""Follows the computations of one model and writes their spans."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ..clock import node_ns
from ..program.patches import Patches
from ..program.requests import DECODE, Place, Requests
from ..sending.ring import SpanRing
from .anatomy import Decoder, second_half
from .calls import Call, Live, half_call, layer_call
from .clocks import Clock
from .inputs import Inputs
from .overhead_check import OverheadCheck
from .repetition import Draw
from .stamps import Blocks
from .surface import Surface


class Tracer:
    """One model, which is called by one thread at a time; where two overlap, the layers of both are unknown and left out."""

    def __init__(
        self,
        decoder: Decoder,
        ring: SpanRing,
        clock: Clock,
        surface: Surface,
        *,
        halves: bool,
        original: Callable[[type], Call],
        draw: Draw | None = None,
        check: OverheadCheck | None = None,
        on_unseen: Callable[[], None] = lambda: None,
        on_overlap: Callable[[], None] = lambda: None,
    ) -> None:
        self.requests = Requests(ring)
        self.live = Live()
        self.live.now = clock.now
        self._ring, self._clock, self._surface = ring, clock, surface
        self._original, self._on_unseen, self._on_overlap = original, on_unseen, on_overlap
        self._halved, self._draw, self._check = halves, draw, check
        self.patches = Patches()
        self._pending: deque[tuple[Place, list[int], list[Any]]] = deque()
        self._place: Place | None = None
        self._thread = 0
        self._spoiled = self._inside = False
        self.learn(decoder)

    def learn(self, decoder: Decoder) -> None:
        """Take the layers as they are now; a program may cut its model between two calls."""
        self.patches.restore()
        self._inside = False
        # A model that the program lets go of must be able to go, so nothing of it is held here.
        self._list = weakref.ref(decoder.layers)
        layers = list(decoder.layers)
        self._ids = tuple(map(id, layers))
        self._layers = {id(layer): number for number, layer in enumerate(layers)}
        seconds = [(second_half(layer), number) for number, layer in enumerate(layers)] if self._halved else []
        self._halves = {id(module): number for module, number in seconds if module is not None}
        halves = {type(module) for module, _number in seconds if module is not None}
        self._calls = [(cls, self._made(layer_call, cls)) for cls in {type(layer) for layer in layers}]
        self._calls += [(cls, self._made(half_call, cls)) for cls in halves]
        self._blocks = Blocks(decoder.without_attention)

    def knows(self, decoder: Decoder) -> bool:
        """Return whether these are the layers that are followed."""
        return tuple(map(id, decoder.layers)) == self._ids

    @property
    def stale(self) -> bool:
        """Return whether the list of layers has changed since it was learnt."""
        layers = self._list()
        return layers is not None and tuple(map(id, layers._modules.values())) != self._ids

    def begin(self, inputs: Inputs) -> Tracer | None:
        """Begin to follow a computation; None where another one is under way."""
        if self._place is not None:
            if threading.get_ident() != self._thread:
                self._spoiled = True
                self._on_overlap()
            return None
        if not self._clock.recording_allowed():
            return None
        self.drain()
        self._thread = threading.get_ident()
        self._place = place = self.requests.place(inputs.batch, inputs.query, inputs.past)
        if place.phase != DECODE and not self._pending:
            self._clock.anchor()
        self._set_inside(self._check is None or place.phase != DECODE or self._check.inside())
        live = self.live
        if self._inside:
            live.layers, live.halves = self._layers, self._halves
        live.chosen, live.alone = self._draw.next() if self._draw is not None and place.phase == DECODE else (-1, False)
        live.marks, live.times = [], [live.now()]
        return self

    def end(self) -> None:
        """The computation is over."""
        live, place = self.live, self._place
        live.times.append(live.now())
        live.layers = live.halves = {}
        self._place = None
        if place is not None:
            self._pending.append((place, [] if self._spoiled else live.marks, live.times))
        if self._inside and not live.marks:
            self._on_unseen()
        self._spoiled = False
        self.drain()

    def abandon(self) -> None:
        """The computation has failed: its spans would be of something that was not computed."""
        self.live.layers = self.live.halves = {}
        self._place, self._spoiled = None, False

    def drain(self, *, wait: bool = False) -> None:
        """Write the spans of computations whose times are known; with `wait`, of all."""
        pending, clock = self._pending, self._clock
        while pending:
            place, marks, stamps = pending[0]
            if wait:
                clock.wait(stamps[-1])
            elif not clock.ready(stamps[-1]):
                return
            pending.popleft()
            times_ns = clock.times_ns(stamps)
            self._write(place, marks, times_ns)

    def generation_begins(self) -> None:
        """A function that generates was called."""
        self.requests.generation_begins()

    def generation_ends(self) -> None:
        """It has returned: the request ends here, with the choice of its last token."""
        self.drain(wait=True)
        self.requests.generation_ends(node_ns())

    def close(self) -> None:
        """Write what is left."""
        self.drain(wait=True)
        self.requests.close()

    def release(self) -> None:
        """Put the classes back."""
        self.live.layers = self.live.halves = {}
        self.patches.restore()

    def _write(self, place: Place, marks: list[int], times_ns: list[int]) -> None:
        if marks:
            self._ring.push_block(
                self._blocks.block(marks),
                times_ns,
                phase=place.phase,
                request=place.request,
                token=place.token,
                count=place.count,
                batch=place.batch,
            )
        self.requests.computed(place, times_ns[0], times_ns[-1])
        if self._check is not None and place.phase == DECODE:
            self._check.note(times_ns[-1] - times_ns[0])

    def _made(self, make: Callable[..., Call], cls: type) -> Call:
        original = self._original(cls)
        return make(original, self.live, self._surface.tracing, own=self._surface.is_own(original))

    def _set_inside(self, inside: bool) -> None:
        """Replace the calls of layers, or put them back: an arm without hooks has none at all."""
        if inside == self._inside:
            return
        self._inside = inside
        if not inside:
            self.patches.restore()
            return
        for cls, call in self._calls:
            self.patches.set(cls, "__call__", call)
