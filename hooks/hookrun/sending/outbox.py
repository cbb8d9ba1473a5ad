"""Messages that the daemon takes without an ack of their own, kept until an ack of a later batch says that they arrived.

A connection carries messages in order, so an ack of a batch that was sent behind a message stands for that message too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

CAPACITY = 1 << 13
"""An hour of telemetry at 2 Hz."""


class Outbox:
    """Packed messages in order, the newest `capacity` of them; `dropped` counts older ones that made room unsent."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._sent: deque[tuple[int, bytes]] = deque()  # (number of the first batch sent behind it, message)
        self._waiting: deque[bytes] = deque()
        self._doubtful = 0  # sent, forgotten for want of room, and not known to have arrived

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    def __iter__(self) -> Iterator[bytes]:
        """Yield what is not known to have arrived, the oldest first."""
        yield from (packed for _batch, packed in list(self._sent))
        yield from list(self._waiting)

    @property
    def waiting(self) -> int:
        """Return how many have not been sent on this connection."""
        return len(self._waiting)

    def put(self, packed: bytes) -> None:
        """Keep a message."""
        if len(self) >= self._capacity:
            self._make_room()
        self._waiting.append(packed)

    def take(self, next_batch: int) -> bytes | None:
        """Return the next message to send, or None; `next_batch` is the number of the batch that will be sent behind it."""
        if not self._waiting:
            return None
        packed = self._waiting.popleft()
        self._sent.append((next_batch, packed))
        return packed

    def ack(self, batch: int) -> None:
        """Forget what was sent ahead of a batch that arrived."""
        while self._sent and self._sent[0][0] <= batch:
            self._sent.popleft()
            self._doubtful = 0

    def rewind(self) -> None:
        """Send everything kept again: the connection that carried it is gone."""
        self._waiting.extendleft(packed for _batch, packed in reversed(self._sent))
        self._sent.clear()
        self.dropped += self._doubtful
        self._doubtful = 0

    def settle(self) -> None:
        """Forget everything: the run it belongs to is stored."""
        self._sent.clear()
        self._waiting.clear()
        self._doubtful = 0

    def restart(self) -> None:
        """Forget everything and count from 0 again: a new run begins."""
        self.settle()
        self.dropped = 0

    def _make_room(self) -> None:
        if self._sent:
            self._sent.popleft()
            self._doubtful += 1
        else:
            self._waiting.popleft()
            self.dropped += 1
