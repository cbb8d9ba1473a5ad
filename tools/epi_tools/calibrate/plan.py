"""What a person has asked for, settled before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass

from epi_tools.calibrate.errors import CalibrationError

TURNS, OFFSETS, GAIN, PHASE, THRESHOLDS = "turns", "offsets", "gain", "phase", "thresholds"
STEPS = (TURNS, OFFSETS, GAIN, PHASE, THRESHOLDS)
LOADED = (OFFSETS, GAIN, PHASE)
"""Steps that each need another thing at the socket."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """A current transformer with its burden, and how often the lead passes through it."""

    turns: int
    ratio: float
    burden_ohm: float

    @property
    def uv_per_a(self) -> int:
        """Microvolts at the chip's current input per ampere in the lead: the setting `current_uv_per_a`."""
        return round(1e6 * self.turns * self.burden_ohm / self.ratio)


@dataclass(frozen=True, slots=True)
class Plan:
    """One calibration of one channel.

    `seconds` None lets the tolerance decide. `sensor` None leaves the nominal sensitivity, `start_mw` None the threshold.
    """

    channel: int
    steps: tuple[str, ...]
    seconds: float | None
    tolerance: float
    phase_tolerance_deg: float
    utc: str
    sensor: Sensor | None = None
    start_mw: int | None = None
    ct: str | None = None
    turns: int | None = None
    celsius: int | None = None
    dry_run: bool = False


def parse_steps(text: str) -> tuple[str, ...]:
    """Steps named in a list with commas, in the order of the application note."""
    asked = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(asked - set(STEPS))
    if unknown or not asked:
        raise CalibrationError(f"Step {', '.join(unknown) or text!r} is unknown: name some of {', '.join(STEPS)}.")
    return tuple(step for step in STEPS if step in asked)
