"""What every source of watts can do."""

from collections.abc import Sequence
from typing import Protocol

Piece = tuple[int, float]  # (end_ns, watts)


class Source(Protocol):
    """Watts over time as constant pieces; the chip model and the ledger of true energy both read these."""

    def pieces(self, start_ns: int, end_ns: int) -> Sequence[Piece]:
        """Pieces (end_ns, watts), contiguous from `start_ns` to `end_ns`, or to where a live source has looked."""

    def observe(self) -> None:
        """Look at the real thing now, so that `pieces` reaches up to this moment. A computed source needs no look."""
