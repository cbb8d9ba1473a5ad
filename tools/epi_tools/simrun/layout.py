"""One simulated run laid out in true time, before anything is metered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from epi_tools.simrun.spans import Spans
from epi_tools.simrun.truth import Truth

BEFORE_NS = 6_000_000_000
"""The board runs this long before the node's run begins: it has settled, and its clock is known."""

AFTER_NS = 1_500_000_000
"""And this long after it, as the daemon keeps the file open for what the meter says late."""

Message = tuple[int, str, dict[str, Any]]
"""One message of a run file: (host_ns, topic, body)."""


def when(message: Message) -> int:
    """Its host time."""
    return message[0]


@dataclass(frozen=True, slots=True)
class Simulated:
    """One run, laid out in true time from `begin_ns` to `end_ns`; `celsius` every `step_ns` from the board's start on."""

    truth: Truth
    seed: int
    repeat: int
    label: str
    run: str
    utc: str
    spans: Spans
    begin_ns: int
    end_ns: int
    model: Mapping[str, Any]
    celsius: np.ndarray
    step_ns: int

    @property
    def start_ns(self) -> int:
        """When the board is switched on."""
        return self.begin_ns - BEFORE_NS
