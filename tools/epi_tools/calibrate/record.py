"""The calibration record of a channel; see config_file for its keys."""

from __future__ import annotations

import json
import math
from typing import Any

from epi_tools.calibrate.config_file import MAX_RECORD_BYTES
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.plan import Plan
from epi_tools.calibrate.solve import Errors


def new_record(old: dict[str, Any] | None, found: Errors, plan: Plan) -> dict[str, Any] | None:
    """Return the record after this calibration: what was found replaces what it replaces; the rest of the old one stays.

    Without a gain or a phase there is nothing to record, and the old record stays as it is.
    """
    fresh: dict[str, Any] = {}
    if not math.isnan(found.gain):
        fresh |= {"gain_ppm": round(found.gain * 1e6), "within_ppm": max(1, math.ceil(2 * found.gain_within * 1e6))}
    if not math.isnan(found.lag_deg):
        fresh |= {"phase_mdeg": round(found.lag_deg * 1000)}
    if not fresh:
        return old
    said = {"utc": plan.utc, "celsius": plan.celsius, "ct": plan.ct, "turns": plan.turns}
    record = (old or {}) | fresh | {key: value for key, value in said.items() if value is not None}
    if len(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_RECORD_BYTES:
        raise CalibrationError(
            f"The calibration record would be longer than {MAX_RECORD_BYTES} bytes, which HELLO has no room for: shorten --ct; "
            "nothing was stored."
        )
    return record
