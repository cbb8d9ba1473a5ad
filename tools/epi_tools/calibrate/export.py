"""The file with which `epid report --calibration` corrects runs that were recorded before, or after, a calibration.

A run says by the record in its HELLO in which state of the meter it was made; the file holds a correction for each state.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.outcome import Outcome, Seen
from epi_tools.calibrate.solve import Errors

FORMAT = "epi-calibration"
VERSION = 1


def write_export(path: Path, outcome: Outcome) -> None:
    """Write the corrections of one channel; a file for the same board keeps those of its other channels.

    Raises CalibrationError where nothing was measured that could correct, or where the file cannot be written.
    """
    content = document(outcome, _existing(path, outcome.board_id))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise CalibrationError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_path(path: Path, board_id: str) -> None:
    """CalibrationError now, rather than after minutes of measuring."""
    if not path.parent.is_dir():
        raise CalibrationError(f"Cannot write {path}: there is no folder {path.parent}; nothing was stored.")
    _existing(path, board_id)


def document(outcome: Outcome, others: dict[str, Any]) -> dict[str, Any]:
    """The file's content, with `others` as the channels it held before."""
    if math.isnan(outcome.found.gain):
        raise CalibrationError("Only a gain corrects old runs, and none was measured: add the step gain to export.")
    states = [_state(outcome.old_record, outcome.before, outcome.found)]
    if outcome.after and outcome.residual:
        states.append(_state(outcome.record, outcome.after, outcome.residual))
    return {
        "format": FORMAT,
        "version": VERSION,
        "board_id": outcome.board_id,
        "simulated": outcome.simulated,
        "channels": others | {str(outcome.channel): {"utc": outcome.utc, "instrument": outcome.instrument, "states": states}},
    }


def _state(record: dict[str, Any] | None, seen: Seen, errors: Errors) -> dict[str, Any]:
    """How readings are corrected that were made under `record`."""
    return {
        "calibration": record,
        "energy_correction": 1 / (1 + errors.gain),
        "power_correction": 1 / (1 + seen.power),
        "within": 2 * errors.gain_within,
        "lag_deg": None if math.isnan(errors.lag_deg) else errors.lag_deg,
    }


def _existing(path: Path, board_id: str) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = str(content["board_id"])
        channels: dict[str, Any] = dict(content["channels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(f"{path} exists and is no calibration file: name another for --export.") from error
    if found != board_id:
        raise CalibrationError(f"{path} is of board {found}, and this is {board_id}: name another file for --export.")
    return channels
