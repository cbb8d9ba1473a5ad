"""How long a token takes from its end to the daemon's word that it is stored.

Both instants are of the node's own clock, so no other clock has to be trusted. The daemon has a token earlier than its word has
come back, so what is told here is an upper bound of the way there.
"""

from __future__ import annotations

import statistics
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from epi_protocol.events import KIND

_TOKEN = bytes((KIND["token"],))
_NEWEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """Milliseconds over `tokens` tokens, the newest ones of a long run."""

    tokens: int
    median_ms: float
    max_ms: float

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """Return it for people."""
        return f"a token is stored after {self.median_ms:.0f} ms (median; at most {self.max_ms:.0f})"


class Arrivals:
    """`left` as a batch is packed, `confirmed` as its ack arrives, in any order of batches."""

    def __init__(self) -> None:
        self._ends_ns: dict[int, list[int]] = {}
        self._took_ns: deque[int] = deque(maxlen=_NEWEST)

    def left(self, seq: int, columns: Mapping[str, bytes]) -> None:
        """Note when the tokens of a batch ended; `columns` are those of epi_protocol.events.COLUMNS."""
        kinds, ends, found, at = columns["kind"], columns["end_ns"], [], -1
        while (at := kinds.find(_TOKEN, at + 1)) >= 0:
            found.append(struct.unpack_from("<q", ends, 8 * at)[0])
        if found:
            self._ends_ns[seq] = found

    def confirmed(self, seq: int, now_ns: int) -> None:
        """The daemon has stored a batch; a second word about the same one says nothing new."""
        self._took_ns.extend(now_ns - end_ns for end_ns in self._ends_ns.pop(seq, ()))

    def restart(self) -> None:
        """Forget everything: a new run begins."""
        self._ends_ns.clear()
        self._took_ns.clear()

    def summary(self) -> Arrival | None:
        """Return what was seen so far, or None where no token has been confirmed."""
        took = self._took_ns
        return Arrival(len(took), statistics.median(took) / 1e6, max(took) / 1e6) if took else None
