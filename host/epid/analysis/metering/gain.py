"""How well a meter channel's scale is known: its calibration record, a correction put on at reading, or the datasheet alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..timeline.run import BoardRecord
from .calibration import Correction

CLASS_SD = 0.001 / math.sqrt(3)
"""Active energy within 0.1 % of the reading (datasheet table 2), taken as equally likely anywhere inside."""

OFFSET_SD_W = 0.0006
"""One raw unit of the chip's power is about 2 mW; what it cuts off is equally likely anywhere inside."""

_NOT_CALIBRATED = (
    "not calibrated: the datasheet's 0.1 % of the reading stands for the chip, and the error of sensors is not in it"
)


@dataclass(frozen=True, slots=True)
class Gain:
    """`sd`: relative standard deviation of the scale of energies; `offset_sd_w`: of a constant error of power; by `source`."""

    sd: float
    offset_sd_w: float
    source: str
    calibrated: bool


def gain_of(board: BoardRecord, channel: int, correction: Correction | None) -> Gain:
    """Return what is known of a channel's scale. `within` of records and corrections is two standard deviations."""
    record = board.description["channels"][channel].get("calibration")
    if correction is not None:
        return Gain(correction.within / 2, OFFSET_SD_W, f"correction by the calibration of {correction.utc}", True)
    if isinstance(record, Mapping) and (within := _within(record)) is not None:
        return Gain(within / 2, OFFSET_SD_W, f"calibration of {record.get('utc', 'an unknown day')}", True)
    return Gain(CLASS_SD, OFFSET_SD_W, _NOT_CALIBRATED, False)


def _within(record: Mapping[str, Any]) -> float | None:
    ppm = record.get("within_ppm")
    return ppm * 1e-6 if isinstance(ppm, int | float) and ppm > 0 else None
