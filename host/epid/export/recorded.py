"""What an export is made of: one run's power and spans on the host's clock, nothing worked out from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analysis.metering.calibration import Corrections, calibrated_track
from ..analysis.metering.metered import metered_channel
from ..analysis.metering.registers import registers_of
from ..analysis.timeline.run import Run, load_run
from ..analysis.timeline.timeline import MeterTrack, SpanTable, place, span_table


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run: `zero_ns` is the host time that its own axis starts at, the first sample or span."""

    run: Run
    track: MeterTrack
    spans: SpanTable

    @property
    def label(self) -> str:
        """The run's name for people, marked where the meter was simulated."""
        return self.run.label + (" (simulated)" if self.simulated else "")

    @property
    def simulated(self) -> bool:
        """Whether the meter was simulated."""
        return self.track.simulated

    @property
    def zero_ns(self) -> int:
        """Host time of the first sample or span."""
        begins = self.spans.columns["begin_ns"]
        return min(int(self.track.host_ns[0]), int(begins.min()) if len(begins) else int(self.track.host_ns[0]))

    @property
    def start_ns(self) -> int:
        """Host time of the first span, where the run itself begins."""
        begins = self.spans.columns["begin_ns"]
        return int(begins.min()) if len(begins) else int(self.track.host_ns[0])

    def telemetry(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Host time and value of one reading of the node itself, both of shape (n,); empty where it was never taken."""
        node = self.run.node
        looks = [(node_ns, found[name]) for node_ns, found in node.telemetry if name in found]
        fitted = next((fit for clock in node.clocks.values() if (fit := clock.fit()) is not None), None)
        if not looks or fitted is None:
            return np.zeros(0, np.int64), np.zeros(0)
        host_ns, _bound = place(np.array([node_ns for node_ns, _ in looks], np.int64), fitted)
        return host_ns, np.array([value for _, value in looks])

    def metered_j(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Joules that the energy registers counted during each of some spans, shape (n,); NaN where they cannot tell.

        Between two samples the energy is split by the expected course of power: for spans shorter than the sample period
        this is their share of what was counted, not a measurement of each.
        """
        return registers_of(self.track, self.spans).draw(columns["begin_ns"], columns["end_ns"]).joules


def load_recorded(path: Path, channel: int | None, corrections: Corrections | None) -> Recorded:
    """Read one run file. Raises RunFileError where it holds no power or no spans."""
    run = load_run(path)
    spans = span_table(run.node)
    board, index = metered_channel(run, channel)
    track, _correction = calibrated_track(board, index, corrections)
    return Recorded(run, track, spans)
