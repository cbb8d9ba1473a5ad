"""What a reader of a run's figures should know before trusting them, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .windows.tally import NO_IDLE

if TYPE_CHECKING:
    from .summary import Summary

IDLE_DRIFT = 0.05
"""Idle before and after a run may differ so much, relative, before the report warns."""

CHAINS_TOLERANCE = 0.005
"""Energy registers and integrated power must agree this well, or the report warns."""


def remarks(summary: Summary) -> Iterator[str]:
    """Yield what damages or limits the figures of a run."""
    yield from summary.run.damage
    yield from (note for note in summary.run.notes if "lost" not in note)
    yield from summary.correction.remarks() if summary.correction else ()
    yield from _missing(summary)
    yield from _idle(summary)
    yield from _work(summary)
    yield from _energy(summary)


def _missing(summary: Summary) -> Iterator[str]:
    if summary.lost_frames:
        yield f"{summary.lost_frames} frames of the meter are missing; energy is exact all the same, the trace has gaps"
    if summary.spans.dropped:
        yield f"{summary.spans.dropped} spans were dropped by the node's ring; medians rest on the others"


def _idle(summary: Summary) -> Iterator[str]:
    idle = summary.idle
    if np.isnan(idle.watts):
        yield NO_IDLE
    if abs(idle.after_w - idle.before_w) > IDLE_DRIFT * idle.watts:
        drift = f"idle drew {idle.before_w:.2f} W before and {idle.after_w:.2f} W after"
        yield f"{drift}: the node had not settled, and net joules rest on both"


def _work(summary: Summary) -> Iterator[str]:
    if repeats := sum(layer.repeats for layer in summary.layers):
        yield f"{repeats} layers were computed once more for the sake of the measurement, which is in the joules per token"
    if not summary.gain.calibrated:
        yield f"the meter channel is {summary.gain.source}"
    if not summary.conservation.holds and not summary.conservation.fault:
        yield f"the parts of this run add up to {1 + summary.conservation.mismatch:.4f} of what was metered"
    if summary.run.end.get("status") not in ("complete", None):
        yield f"the run ended as {summary.run.end['status']!r}: figures rest on what was recorded until then"


def _energy(summary: Summary) -> Iterator[str]:
    for name, phase in (("prefill", summary.prefill), ("decode", summary.decode)):
        if phase.fault:
            yield (f"{name}: " if phase.spans else f"no energy for {name}: ") + phase.fault
    if abs(summary.chains_ratio - 1) > CHAINS_TOLERANCE:
        yield f"energy registers and integrated power differ by a factor {summary.chains_ratio:.4f}: check the calibration"
