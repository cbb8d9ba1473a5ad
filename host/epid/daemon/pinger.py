"""Two-way time exchanges with one peer, board or node: which ping is due, which answer belongs to it, how good the clock is."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ..clocks import WINDOW, ClockEstimator, Exchange, Jump, Knot

PING_PERIOD_NS = 983_000_000
"""Time between pings: beside one second, so that pings walk through every phase of a board's loop (Klipper's habit)."""

BURST_PINGS = 8
BURST_PERIOD_NS = 70_000_000
PING_LOST_NS = 2_000_000_000
"""An answer later than this is none: the peer or the line slept in between."""

LIVE_EXCHANGES = WINDOW


class Pinger:
    """The exchanges with one peer since its clock started; `nonce_bytes` as long as the peer's wire has room for."""

    def __init__(self, nonce_bytes: int, new_nonce: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self.clock = ClockEstimator()
        self.unmatched = 0
        self._nonce_bytes, self._new_nonce = nonce_bytes, new_nonce
        self._pending: dict[bytes, int] = {}
        self._sent = 0
        self._next_ns = 0
        self._jump: Jump | None = None
        self._knot: Knot | None = None

    def due(self, host_ns: int) -> bytes | None:
        """Return the nonce to send now, or None. Call just before sending: `host_ns` becomes the exchange's t1."""
        if host_ns < self._next_ns:
            return None
        self._pending = {nonce: t1 for nonce, t1 in self._pending.items() if host_ns - t1 < PING_LOST_NS}
        nonce = self._new_nonce(self._nonce_bytes)
        self._pending[nonce] = host_ns
        self._sent += 1
        self._next_ns = host_ns + (BURST_PERIOD_NS if self._sent < BURST_PINGS else PING_PERIOD_NS)
        return nonce

    def expect(self, nonce: bytes, t1_ns: int) -> None:
        """Take a ping as sent at `t1_ns`: a replay has the pings of its record."""
        self._pending[nonce] = t1_ns

    def answer(self, nonce: bytes, t2_ns: int, t3_ns: int, t4_ns: int) -> Exchange | None:
        """Return the exchange that an answer completes; None for one that nobody waits for (late, twice, made up)."""
        t1_ns = self._pending.pop(nonce, None)
        if t1_ns is None or t4_ns - t1_ns >= PING_LOST_NS:
            self.unmatched += 1
            return None
        exchange = Exchange(t1_ns, t2_ns, t3_ns, t4_ns)
        self.clock.add(exchange)
        jump = self.clock.newest_jump()
        if jump is not None:
            self._jump = jump if self._jump is None else self._jump + jump
        self.clock.forget(LIVE_EXCHANGES)
        self._knot = None
        return exchange

    def take_jump(self) -> Jump | None:
        """Return how far the peer's clock has jumped ahead of ours since the last call; None where it has not."""
        jump, self._jump = self._jump, None
        return jump

    def knot(self) -> Knot | None:
        """The live map from the peer's clock to ours, or None before the first exchange."""
        if self._knot is None:
            self._knot = self.clock.fit_latest()
        return self._knot

    def bound_ns(self) -> float | None:
        """Half width (99 %) of the live map, or None before the first exchange."""
        knot = self.knot()
        return None if knot is None else knot.bound_ns

    def hurry(self) -> None:
        """Send a burst now: something happened to one of the clocks."""
        self._sent = 0
        self._next_ns = 0

    def restart(self) -> None:
        """The peer's clock starts anew."""
        self.clock = ClockEstimator()
        self._pending.clear()
        self._jump = None
        self._knot = None
        self.hurry()
