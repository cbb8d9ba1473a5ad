"""The run's time cut into disjoint parts, and what each part drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epi_protocol import events

from ..metering.registers import Registers
from ..metering.shape import LEVELS
from ..timeline.timeline import SpanTable
from .conservation import Conservation, Part


def conservation_of(registers: Registers, spans: SpanTable, decoding: Sequence[Part]) -> Conservation:
    """Add up idle, phases, layers and rest, each as it is reported elsewhere, beside what the registers counted meanwhile.

    `decoding`: the parts of decode, as the layers' estimate has them.
    """
    begin_ns, end_ns = _extent(spans)
    metered = registers.draw(begin_ns, end_ns)
    seconds = float((end_ns - begin_ns).sum() / 1e9)
    if not np.isfinite(metered.joules).all():
        return Conservation((), seconds, float("nan"), str(metered.fault[0]))
    parts = [_part(registers, spans, name) for name in LEVELS if name != "decode"]
    parts += [*decoding, _unlabelled(registers, spans, begin_ns, end_ns)]
    return Conservation(tuple(part for part in parts if part.seconds > 0), seconds, float(metered.joules.sum()))


def _extent(spans: SpanTable) -> tuple[np.ndarray, np.ndarray]:
    begin_ns, end_ns = spans.columns["begin_ns"], spans.columns["end_ns"]
    return begin_ns.min(keepdims=True), end_ns.max(keepdims=True)


def _part(registers: Registers, spans: SpanTable, name: str) -> Part:
    found = spans.of_kind(events.KIND[name])
    joules = registers.draw(found["begin_ns"], found["end_ns"]).joules
    return Part(name, float((found["end_ns"] - found["begin_ns"]).sum()) / 1e9, float(joules.sum()))


def _unlabelled(registers: Registers, spans: SpanTable, begin_ns: np.ndarray, end_ns: np.ndarray) -> Part:
    """Time between spans."""
    found = [spans.of_kind(events.KIND[name]) for name in LEVELS]
    begins = np.concatenate([*(columns["begin_ns"] for columns in found), end_ns])
    ends = np.concatenate([begin_ns, *(columns["end_ns"] for columns in found)])
    begins, ends = np.sort(begins), np.maximum.accumulate(np.sort(ends))
    gaps = begins > ends
    joules = registers.draw(ends[gaps], begins[gaps]).joules
    return Part("unlabelled", float((begins - ends)[gaps].sum()) / 1e9, float(joules.sum()))
