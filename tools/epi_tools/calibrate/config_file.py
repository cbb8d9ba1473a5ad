"""The board's config.json: what calibration changes in it, and the record that it leaves there.

The record of a channel goes from the board's HELLO into every run file, so it is kept short:

| key | meaning |
|---|---|
| gain_ppm | error of the energy that was found and taken away, millionths |
| within_ppm | its uncertainty, two standard deviations |
| phase_mdeg | excess lag of the current, found and taken away, thousandths of a degree; absent where it was not measured |
| utc | day, UTC |
| celsius | temperature, whole degrees; absent where nobody knew it |
| ct, turns | current transformer, and turns of the lead through it; absent where nobody said it |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.registers import Registers

CONFIG_FILE = "config.json"
RECORD = "calibration"
MAX_RECORD_BYTES = 120


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One channel as the board's firmware understands its file: settings, the registers they make, and the record."""

    settings: dict[str, Any]
    registers: Registers
    metering: tuple[int, ...]
    measurement: tuple[int, ...]
    record: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """The file's text ("" where there is none), what the firmware makes of it, and what it complains about."""

    text: str
    channels: tuple[ChannelConfig, ...]
    complaints: tuple[str, ...]


def with_channel(text: str, channel: int, n_channels: int, changes: dict[str, Any]) -> str:
    """Return the file with `changes` merged into one channel's object; None as a value takes a key away.

    Everything else in the file stays. Raises CalibrationError where the file is not what the firmware expects.
    """
    content = _object(text)
    channels = content.setdefault("channels", [{} for _ in range(n_channels)])
    if not isinstance(channels, list) or len(channels) <= channel or not isinstance(channels[channel], dict):
        raise CalibrationError(
            f"The board's {CONFIG_FILE} has no channel {channel} to change: mend its list of channels first; nothing was stored."
        )
    merged = channels[channel] | changes
    channels[channel] = {key: value for key, value in merged.items() if value is not None}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"


def record_in(text: str, channel: int) -> dict[str, Any] | None:
    """The calibration record of a channel, or None where it has none."""
    if not text.strip():
        return None
    channels = _object(text).get("channels", [])
    mine = channels[channel] if isinstance(channels, list) and channel < len(channels) else {}
    record = mine.get(RECORD) if isinstance(mine, dict) else None
    return record if isinstance(record, dict) else None


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text) if text.strip() else {}
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CalibrationError(f"The board's {CONFIG_FILE} is not a JSON object: mend or remove it first; nothing was stored.")
    return content
