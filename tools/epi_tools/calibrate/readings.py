"""One sweep of the board in physical units, by the scales that its HELLO gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from epi_protocol import messages

ABSENT, REINIT, SETTLING = messages.flag("ABSENT"), messages.flag("REINIT"), messages.flag("SETTLING")
NO_LOAD, REVERSED, STALE = messages.flag("NO_LOAD"), messages.flag("REVERSED"), messages.flag("STALE")
UNKNOWN, CALIBRATION_ERROR = messages.flag("ENERGY_UNKNOWN"), messages.flag("CALIBRATION_ERROR")
_INVALID, _LATE = messages.flag("MEASURE_INVALID"), messages.flag("ENERGY_LATE")


@dataclass(frozen=True, slots=True)
class Reading:
    """One channel in one sweep. `t_s` is the board's time of reading P.

    `p_w`, `q_var`, `u_v`, `i_a` are NaN where the reading was invalid. `energy_j` is forward less reverse since boot, NaN where
    the registers were not read.
    """

    t_s: float
    p_w: float
    q_var: float
    u_v: float
    i_a: float
    line_hz: float
    energy_j: float
    flags: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """All channels once, in one boot of the board."""

    boot_id: bytes
    channels: tuple[Reading, ...]


def sweep_of(payload: bytes, described: list[dict[str, Any]]) -> Sweep:
    """Put the units of `described` (HELLO's list of channels) on a SAMPLE. Raises ProtocolError where it is damaged."""
    head, blocks = messages.parse_sample(payload)
    readings = [_reading(head, block, scales) for block, scales in zip(blocks, described, strict=False)]
    return Sweep(head["boot_id"], tuple(readings))


def _reading(head: dict[str, Any], block: dict[str, int], scales: dict[str, Any]) -> Reading:
    flags = block["flags"]
    valid = not flags & (_INVALID | ABSENT)

    def quantity(name: str, unit: str) -> float:
        return messages.extended(block[name], block[f"{name}_lsb"]) * scales[unit] if valid else math.nan

    counted = not flags & (ABSENT | _LATE)
    return Reading(
        t_s=(head["board_us"] + block["dt_us"]) * 1e-6,
        p_w=quantity("p", "p_w"),
        q_var=quantity("q", "q_var"),
        u_v=quantity("u", "u_v"),
        i_a=quantity("i", "i_a"),
        line_hz=block["freq"] / 100,
        energy_j=(block["forward"] - block["reverse"]) * scales["energy_j_per_tick"] if counted else math.nan,
        flags=flags,
    )
