"""Register values from errors: the arithmetic of application note Atmel-46102B, chapter 3.2, on registers that may hold values.

The note starts from a chip at reset values; here `old` is what the register holds, so a calibration can be repeated.
An error is (measured - true) / true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from epi_tools.calibrate.errors import CalibrationError

DELAY_HZ = 2.048e6
"""One step of Lphi delays the current by one period of this clock; 0.00879 degrees at 50 Hz (from the note's 3763.74)."""

SETTINGS = ("l_gain", "l_phi", "u_gain", "i_gain", "u_offset", "i_offset", "p_offset", "q_offset")
"""Names that config.json has for registers of a channel."""

_SMALL_POWER = 100_000 * 2**22  # the note's n = 22; the datasheet's 42 contradicts the thresholds' formula
_GAIN_LIMIT = 0x4000  # the datasheet promises -50 to +50 %
_PHASE_LIMIT = 0x3FF


@dataclass(frozen=True, slots=True)
class Registers:
    """The calibration registers of one chip, 16-bit words as the chip holds them."""

    l_gain: int
    l_phi: int
    u_gain: int
    i_gain: int
    u_offset: int
    i_offset: int
    p_offset: int
    q_offset: int
    p_start_th: int

    @property
    def raw_power(self) -> float:
        """One unit of Poffset in units of the Pmean register."""
        return self.u_gain * self.i_gain / _SMALL_POWER

    def settings_since(self, old: Registers) -> dict[str, int]:
        """The settings of config.json that make these registers of the `old` ones."""
        return {name: word for name in SETTINGS if (word := getattr(self, name)) != getattr(old, name)}

    def changed(self, **words: int) -> Registers:
        """These registers with some words replaced."""
        return replace(self, **words)


def registers_of(metering: Sequence[int], measurement: Sequence[int]) -> Registers:
    """Pick the calibration out of the blocks 21H-2BH and 31H-3AH."""
    u_gain, i_gain, _n_gain, u_offset, i_offset, _n_offset, p_offset, q_offset, *_neutral = measurement
    return Registers(metering[2], metering[3], u_gain, i_gain, u_offset, i_offset, p_offset, q_offset, metering[6])


def metering_gain(error: float, old: int = 0) -> int:
    """Lgain that takes `error` away (note 3.2.3). Raises CalibrationError where the register cannot hold it."""
    word = round((gain_factor(old) / (1 + error) - 1) * 2**15)
    if abs(word) > _GAIN_LIMIT:
        raise CalibrationError(f"Lgain would have to be {1 + word / 2**15:.3f}, and reaches from 0.5 to 1.5 only.")
    return word & 0xFFFF


def gain_factor(word: int) -> float:
    """What Lgain multiplies by."""
    return 1 + from_complement(word) / 2**15


def phase_delay(lag_deg: float, line_hz: float, old: int = 0) -> int:
    """Lphi that takes a measured excess lag of the current away (note 3.2.4); a current that seems to lead is delayed."""
    steps = from_signed(old) - round(lag_deg / phase_step_deg(line_hz))
    if abs(steps) > _PHASE_LIMIT:
        raise CalibrationError(
            f"Lphi would have to delay by {steps * phase_step_deg(line_hz):.1f} degrees, and reaches to "
            f"{_PHASE_LIMIT * phase_step_deg(line_hz):.1f} only."
        )
    return 0x8000 | -steps if steps < 0 else steps


def phase_step_deg(line_hz: float) -> float:
    """Degrees of one step of Lphi."""
    return 360 * line_hz / DELAY_HZ


def measurement_gain(reference: float, measured: float, old: int) -> int:
    """Ugain or Igain that makes `measured` the `reference` (note 3.2.6)."""
    word = round(old * reference / measured) if measured > 0 else 0
    if not 0 < word <= 0x7FFF:
        raise CalibrationError(f"A measurement gain would have to be {word}, and reaches from 1 to 32767 only.")
    return word


def power_offset(mean_raw: float, old: int = 0) -> int:
    """Poffset or Qoffset from the mean reading of an open circuit in raw power units (note 3.2.2)."""
    return _complement(from_complement(old) - round(mean_raw), "Poffset or Qoffset")


def rms_offset(mean: float, gain: int, old: int = 0) -> int:
    """Uoffset or Ioffset from the mean reading at nothing, in units of the main register: -reading * gain / 2^16 * 2^8."""
    return _complement(from_complement(old) - round(mean * gain / 256), "Uoffset or Ioffset")


def from_complement(word: int) -> int:
    """16-bit two's complement to a signed integer."""
    return word - 0x10000 if word & 0x8000 else word


def from_signed(word: int) -> int:
    """Lphi: bit 15 is the sign, bits 9:0 the magnitude."""
    return -(word & _PHASE_LIMIT) if word & 0x8000 else word & _PHASE_LIMIT


def _complement(value: int, name: str) -> int:
    if not -0x8000 <= value <= 0x7FFF:
        raise CalibrationError(f"{name} would have to be {value}, and has 16 bits: is the current circuit really open?")
    return value & 0xFFFF
