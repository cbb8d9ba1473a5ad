"""Averages of a steady load, each with the standard error that its own scatter gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import Reading

BLOCK_S = 1.0
"""Readings closer than the chip's averaging window are not independent; blocks of a second are."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its standard error."""

    value: float
    sem: float

    @property
    def significant(self) -> float:
        """The mean where it stands out of its scatter by three standard errors, else 0."""
        return self.value if abs(self.value) > 3 * self.sem else 0.0


@dataclass(frozen=True, slots=True)
class Averages:
    """One channel over `seconds` of a steady load.

    `energy_w`: slope of the energy registers, with a step of them at each end and the load's own unsteadiness as its error.
    """

    seconds: float
    samples: int
    p_w: Mean
    q_var: Mean
    u_v: Mean
    i_a: Mean
    line_hz: float
    energy_w: Mean


def averages(readings: Sequence[Reading], tick_j: float) -> Averages:
    """Average `readings` of one boot; `tick_j` is one step of the energy registers. CalibrationError where there are too few."""
    blocks = blocks_of(readings)
    if len(blocks) < 2:
        raise CalibrationError("There are too few valid readings for an average: measure for 3 seconds at least (--seconds).")
    seconds = readings[-1].t_s - readings[0].t_s
    p_w = _mean(blocks, lambda reading: reading.p_w)
    step_w = tick_j / math.sqrt(6) / seconds  # uniform within a step, at both ends
    return Averages(
        seconds=seconds,
        samples=len(readings),
        p_w=p_w,
        q_var=_mean(blocks, lambda reading: reading.q_var),
        u_v=_mean(blocks, lambda reading: reading.u_v),
        i_a=_mean(blocks, lambda reading: reading.i_a),
        line_hz=fmean(reading.line_hz for block in blocks for reading in block),
        energy_w=Mean(_slope(readings), math.hypot(step_w, p_w.sem)),
    )


def blocks_of(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Whole blocks of BLOCK_S; only readings that are valid."""
    blocks: dict[int, list[Reading]] = {}
    for reading in readings:
        blocks.setdefault(int((reading.t_s - readings[0].t_s) / BLOCK_S), []).append(reading)
    if blocks:
        blocks.popitem()  # the last is not whole
    valid = [[reading for reading in block if not math.isnan(reading.p_w)] for block in blocks.values()]
    return [block for block in valid if block]


def seconds_for(power_w: float, tick_j: float, within: float) -> float:
    """How long to measure until the registers' step is a quarter of `within` (relative) at `power_w`."""
    return 4 * tick_j / math.sqrt(6) / (within * power_w)


def _mean(blocks: Sequence[Sequence[Reading]], of: Callable[[Reading], float]) -> Mean:
    means = [fmean(of(reading) for reading in block) for block in blocks]
    return Mean(fmean(means), stdev(means) / math.sqrt(len(means)))


def _slope(readings: Sequence[Reading]) -> float:
    """Watts by least squares through the energy counter: steps fall anywhere between sweeps, so a line resolves less than one."""
    counted = [(reading.t_s, reading.energy_j) for reading in readings if not math.isnan(reading.energy_j)]
    if len(counted) < 3:
        raise CalibrationError("The energy registers could not be read while measuring: check the wiring of the chip.")
    t_mean, e_mean = fmean(t for t, _ in counted), fmean(e for _, e in counted)
    spread = sum((t - t_mean) ** 2 for t, _ in counted)
    return sum((t - t_mean) * (e - e_mean) for t, e in counted) / spread
