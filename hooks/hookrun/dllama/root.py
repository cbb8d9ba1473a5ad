"""The node that generates: lines of its output and stamps of its timer, put together into spans.

Each forward pass asks the timer `StepPlan.clock_calls` times, and ends right before its record is flushed: so the stamps of token
k are the last ones before flush k, and those of the prompt's batches the last ones before the first flush. Without stamps a token
is placed by its printed milliseconds before the moment its record arrived.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from epi_protocol.events import KIND

from ..sending.ring import SpanRing
from .feed import Feed, Mark, MarkKind
from .output import Batch, Record, Token
from .step_times import StepTimes
from .steps import StepPlan

PREFILL, DECODE = KIND["prefill"], KIND["decode"]
CUT_PER_STEP_NS, CUT_PER_FIGURE_NS = 1_000, 1_000_000
"""The program cuts the time of every step to whole microseconds, and each of the two sums that it prints to milliseconds."""


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward pass: when it ran, when each of its spans ended where that is known, and what its steps add up to."""

    begin_ns: int
    end_ns: int
    boundaries_ns: Sequence[int] | None = None
    steps_ns: int | None = None


class RootSpans:
    """Writes the spans of one request as they become known. Counts: tokens placed by text only, and by stamps that disagree."""

    def __init__(self, ring: SpanRing, feed: Feed | None, plan: StepPlan | None, times: StepTimes | None = None) -> None:
        self.batches: list[Batch] = []
        self.tokens: list[Token] = []
        self.by_text = self.disagreeing = 0
        self.calls: int | None = None
        """How often the timer asked for the time in one forward pass, as seen."""
        self._ring, self._feed, self._plan, self._times = ring, feed, plan, times
        self._waiting: deque[Token] = deque()
        self._flushes: deque[int] = deque()
        self._asked = 0  # timer calls up to the last flush that was used
        self._begin_ns: int | None = None
        self._prefill_end_ns = self._end_ns = 0

    @property
    def understood(self) -> bool:
        """Return whether layers can be told apart."""
        return self._plan is not None and self.calls == self._plan.clock_calls

    def take(self, records: Sequence[Record]) -> None:
        """Take what the program printed."""
        for record in records:
            if isinstance(record, Batch):
                self.batches.append(record)
            else:
                self._waiting.append(record)

    def mark(self, mark: Mark) -> None:
        """Take what the shim saw; only flushes matter here."""
        if mark.kind is MarkKind.FLUSH:
            self._flushes.append(mark.value)

    def work(self, *, over: bool = False) -> None:
        """Write the tokens that are complete; once the program is `over`, the others by their text."""
        while self._waiting and (len(self._flushes) > (0 if self._started else 1) or self._feed is None or over):
            self._token(self._waiting.popleft())

    def finish(self) -> None:
        """Write the phases and the request."""
        if self.batches and not self._started:
            self._prefill()
        if self._begin_ns is None:
            return
        prompt = sum(batch.tokens for batch in self.batches)
        if self.tokens:
            self._ring.push(
                "decode", self._prefill_end_ns, self._end_ns, phase=DECODE, request=0, count=len(self.tokens), batch=1
            )
        self._ring.push("request", self._begin_ns, self._end_ns, request=0, count=prompt + len(self.tokens), batch=1)

    @property
    def _started(self) -> bool:
        return self._begin_ns is not None

    def _token(self, token: Token) -> None:
        if not self._started:
            self._learn()
            self._prefill()
        flush = self._flushes.popleft() if self._flushes else None
        forward = self._forward(flush, token)
        if self._begin_ns is None:
            self._begin_ns = self._prefill_end_ns = forward.begin_ns
        position, self._end_ns = len(self.tokens), forward.end_ns
        self.tokens.append(token)
        self._block(forward, DECODE, position, 1)
        self._ring.push("token", forward.begin_ns, forward.end_ns, phase=DECODE, request=0, token=position, count=1, batch=1)

    def _learn(self) -> None:
        """The first two flushes lie one forward pass apart; the first of all ends the prompt."""
        if len(self._flushes) >= 2:
            self.calls = self._flushes[1] - self._flushes[0]
            self._asked = self._flushes.popleft()
        else:
            self._feed = None  # the program flushes otherwise than known: text only

    def _prefill(self) -> None:
        """Write the prompt's batches, which ended one after the other before the first flush."""
        if not self.batches:
            return
        forwards = self._batch_forwards()
        if forwards is None:
            spent_ns = sum(batch.eval_ms + batch.sync_ms for batch in self.batches) * 1_000_000
            self._begin_ns, self._end_ns = self.batches[-1].at_ns - spent_ns, self.batches[-1].at_ns
        else:
            self._begin_ns, self._end_ns = forwards[0].begin_ns, forwards[-1].end_ns
            for forward, batch in zip(forwards, self.batches, strict=True):
                self._block(forward, PREFILL, -1, batch.tokens)
        self._prefill_end_ns = self._end_ns
        tokens = sum(batch.tokens for batch in self.batches)
        self._ring.push("prefill", self._begin_ns, self._end_ns, phase=PREFILL, request=0, count=tokens, batch=1)

    def _batch_forwards(self) -> list[Forward] | None:
        """Return the forward pass of each batch, None where not all have their stamps."""
        forwards = []
        for behind in range(len(self.batches), 0, -1):
            stamps = self._stamps(self._asked - behind * (self.calls or 0))
            if stamps is None:
                return None
            forwards.append(self._timed(stamps))
        return forwards

    def _forward(self, flush: int | None, token: Token) -> Forward:
        stamps = None
        if flush is not None and self.calls is not None and flush - self._asked == self.calls:
            stamps = self._stamps(self._asked)
        if flush is not None:
            self._asked = flush
        if stamps is None:
            self.by_text += 1
            return Forward(token.at_ns - (token.pred_ms + token.sync_ms) * 1_000_000, token.at_ns)
        forward = self._timed(stamps)
        if self._times is not None and self.understood:
            self._times.add(stamps)
        self.disagreeing += not _agree(forward, token, self.calls or 0)
        return forward

    def _stamps(self, first: int) -> array[int] | None:
        if self._feed is None or self.calls is None or self.calls < 3:
            return None
        return self._feed.stamps_ns(first, self.calls)

    def _timed(self, stamps_ns: array[int]) -> Forward:
        """Stamps: one before the first step, then two behind each step, the first of which ends it."""
        if not self.understood or self._plan is None:
            return Forward(stamps_ns[0], stamps_ns[-2])
        boundaries_ns = [stamps_ns[0], *(stamps_ns[1 + 2 * end] for end in self._plan.ends)]
        steps_ns = sum(stamps_ns[1::2]) - sum(stamps_ns[0:-1:2])
        return Forward(stamps_ns[0], stamps_ns[-2], boundaries_ns, steps_ns)

    def _block(self, forward: Forward, phase: int, token: int, count: int) -> None:
        if forward.boundaries_ns is not None and self._plan is not None:
            self._ring.push_block(self._plan.block, forward.boundaries_ns, phase=phase, request=0, token=token, count=count)


def _agree(forward: Forward, token: Token, calls: int) -> bool:
    """Return whether stamps and printed figures tell the same; the printed ones are cut off, so they are never above."""
    if forward.steps_ns is None:
        return True
    cut_ns = forward.steps_ns - (token.pred_ms + token.sync_ms) * 1_000_000
    return 0 <= cut_ns <= calls // 2 * CUT_PER_STEP_NS + 2 * CUT_PER_FIGURE_NS
