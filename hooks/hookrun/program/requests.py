"""From computations of a model to requests, phases and tokens: for programs that do not say where a request begins."""

from __future__ import annotations

from dataclasses import dataclass

from epi_protocol.events import KIND

from ..sending.ring import SpanRing

PREFILL, DECODE = KIND["prefill"], KIND["decode"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one computation stands: `token` is -1 in the prompt, `count` counts the tokens of all `batch` sequences."""

    phase: int
    request: int
    token: int
    count: int
    batch: int


@dataclass(slots=True)
class _Open:
    """A request as far as its times are known."""

    request: int
    batch: int
    begin_ns: int
    end_ns: int = 0
    prefill_end_ns: int = 0
    prompt: int = 0
    decoded: int = 0


class Requests:
    """`place` each computation as it begins, hand its times to `computed` in the same order, however late.

    Without generation marks a request begins with a computation that knows no past, unless it is the last one's sequence
    with one token more: then the program decodes without a cache.
    """

    def __init__(self, ring: SpanRing) -> None:
        self._ring = ring
        self._request = -1
        self._tokens = 0
        self._last: tuple[int, int, int | None] = (0, 0, None)  # batch, tokens per sequence and past of the last computation
        self._generating = self._awaiting = False
        self._open: _Open | None = None

    def generation_begins(self) -> None:
        """The program calls a function that generates: the next computation begins a request, no other does."""
        self._generating = self._awaiting = True

    def generation_ends(self, end_ns: int) -> None:
        """That function returns; everything computed in it has been handed to `computed`."""
        self._generating = self._awaiting = False
        if self._open is not None:
            self._open.end_ns = end_ns
        self.close()
        self._last = (0, 0, None)

    def place(self, batch: int, query: int, past: int | None) -> Place:
        """Return the place of a computation of `query` new tokens in each sequence, behind `past` (None: not known)."""
        grown = past == 0 and self._last == (batch, query - 1, 0)
        if self._begins(query, past, grown=grown):
            self._request += 1
            self._tokens, self._awaiting = 0, False
            prefill = True
        else:
            prefill = query > 1 and not grown and not self._tokens
        self._last = (batch, query, past)
        token = -1
        if not prefill:
            token = self._tokens
            self._tokens += 1
        return Place(PREFILL if prefill else DECODE, self._request, token, batch * query, batch)

    def computed(self, place: Place, begin_ns: int, end_ns: int) -> None:
        """Take the times of a computation; a token is written at once, phases and requests when they are over."""
        if self._open is None or self._open.request != place.request:
            self.close()
            self._open = _Open(place.request, place.batch, begin_ns)
        now = self._open
        now.end_ns = end_ns
        if place.phase == PREFILL:
            now.prompt, now.prefill_end_ns = now.prompt + place.count, end_ns
            return
        now.decoded += place.count
        self._ring.push(
            "token",
            begin_ns,
            end_ns,
            phase=DECODE,
            request=place.request,
            token=place.token,
            count=place.count,
            batch=place.batch,
        )

    def close(self) -> None:
        """Write the open request, if there is one."""
        now, self._open = self._open, None
        if now is None:
            return
        middle_ns = now.prefill_end_ns or now.begin_ns
        for kind, begin_ns, end_ns, phase, count in (
            ("prefill", now.begin_ns, middle_ns, PREFILL, now.prompt),
            ("decode", middle_ns, now.end_ns, DECODE, now.decoded),
            ("request", now.begin_ns, now.end_ns, 0, now.prompt + now.decoded),
        ):
            if count:
                self._ring.push(kind, begin_ns, end_ns, phase=phase, request=now.request, count=count, batch=now.batch)

    def _begins(self, query: int, past: int | None, *, grown: bool) -> bool:
        if self._request < 0 or self._awaiting:
            return True
        if self._generating or grown:
            return False
        return past == 0 or (past is None and query > 1 and self._tokens > 0)
