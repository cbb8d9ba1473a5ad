"""What a calibration found and left behind."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from epi_tools.calibrate.registers import Registers
from epi_tools.calibrate.solve import Errors, Load


@dataclass(frozen=True, slots=True)
class Seen:
    """Relative errors of one channel at its reference, NaN where nothing was measured. `lag_deg` in degrees."""

    energy: float = math.nan
    power: float = math.nan
    voltage: float = math.nan
    lag_deg: float = math.nan


@dataclass(frozen=True, slots=True)
class Outcome:
    """A calibration from end to end. `after` and `residual` are None where nothing was stored.

    `utc` is the day; `record` is what config.json carries, `old_record` what it carried before.
    """

    board_id: str
    simulated: bool
    channel: int
    name: str
    utc: str
    instrument: str
    steps: tuple[str, ...]
    not_done: tuple[str, ...]
    stored: bool
    checksums: str
    found: Errors
    residual: Errors | None
    before: Seen
    after: Seen | None
    old_registers: Registers
    new_registers: Registers
    start_mw: int
    old_record: dict[str, Any] | None
    record: dict[str, Any] | None
    reference_known: bool

    def document(self) -> dict[str, Any]:
        """As JSON can hold it: missing figures are null."""
        found: dict[str, Any] = _clean(asdict(self))
        return {"event": "calibration"} | found


def seen_at(unity: Load | None, found: Errors) -> Seen:
    """The errors that a table shows."""
    if unity is None:
        return Seen(lag_deg=found.lag_deg)
    return Seen(
        energy=unity.error,
        power=unity.power_error,
        voltage=unity.seen.u_v.value / unity.reference.v - 1,
        lag_deg=found.lag_deg,
    )


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
