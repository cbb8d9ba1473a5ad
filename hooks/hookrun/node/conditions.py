"""What surrounds a run: a stable temperature before it, the load pattern at both ends, and looks at the node meanwhile."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from ..sending.recording import Recording
from ..status_line import StatusLine
from .load_pattern import LoadPattern, PatternOrder
from .probe import NodeProbe
from .processor import read_processor
from .settle import settle
from .telemetry import Telemetry


class Conditions:
    """Made once per command from its options, before the run begins; `settings` belong into those of the run."""

    def __init__(
        self, options: argparse.Namespace, *, probe: NodeProbe | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._settle_s: float | None = options.settle
        self._order: PatternOrder | None = options.load_pattern
        self._watched: bool = not options.no_telemetry
        self._probe = NodeProbe() if probe is None else probe
        self._sleep = sleep
        self.settings: dict[str, Any] = {
            "load_pattern": None if self._order is None else asdict(self._order),
            "telemetry": self._watched,
        }

    def prepare(self) -> list[str]:
        """Wait for a stable temperature where that is wanted, note the processor's state, and return warnings."""
        warnings = self._settle() if self._settle_s is not None else []
        processor = read_processor(throttled=self._probe.throttled())
        self.settings["processor"] = processor.to_map()
        return [*warnings, *processor.warnings()]

    @contextmanager
    def around(self, recording: Recording) -> Iterator[None]:
        """Surround an open run: the pattern, what is measured, the pattern again unless that failed; telemetry throughout."""
        order = self._order
        pattern = None if order is None else LoadPattern(order.seed, recording.ring, total_s=order.seconds, sleep=self._sleep)
        with Telemetry(recording, self._probe.read) if self._watched else nullcontext():
            if pattern is not None:
                pattern.play()
            yield
            if pattern is not None:
                pattern.play()

    def _settle(self) -> list[str]:
        line = StatusLine(sys.stderr)
        try:
            settled = settle(self._probe.temperature_c, least_s=self._settle_s or 0.0, progress=line, sleep=self._sleep)
        finally:
            line.clear()
        self.settings["settle"] = settled.to_map()
        if settled.stable is False:
            return [f"the temperature still moves by {settled.slope_c_per_min:+.1f} °C/min after {settled.waited_s:.0f} s"]
        if settled.stable is None:
            return [f"this node tells no temperature; --settle has waited {settled.waited_s:.0f} s and no more"]
        return []
