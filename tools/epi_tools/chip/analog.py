"""From watts at the socket to the chip's raw power, through the sensors and the registers that scale it.

One raw unit is the least bit of the start-up and no-load thresholds and of small-power mode: 9e6 / (PL * MC) watts. The
application note's constant 838 860 800 for PL and its 93.2067556 for the thresholds are the same number, a factor 9e6
apart, so with G the current gain and millivolts at both inputs:

    raw power  = 838860800 / 9e6 * G * mV(current) * mV(voltage) * cos(angle)
    pulse rate = 2.5 * raw power / PL          (datasheet 5.4; equals MC pulses per kWh)
    Pmean [W]  = raw power * Ugain * Igain / (100000 * 2^22)
    Urms [10 mV] = mV * Ugain / 300            Irms [mA] = G * mV * Igain / 150

The last line follows from the third and the reset values (26400, 31251 for 220 V and 5 A on the reference hardware).

Energy therefore depends on PLconst, Lgain, Lphi, MMode's gain and the start/no-load thresholds; Pmean on Ugain, Igain,
Poffset, MMode's gain and Lphi. Lphi delays samples, so it is taken to act on both chains; Lgain on energy only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from epi_tools.chip import registers as reg
from epi_tools.chip.circuit import Circuit
from epi_tools.chip.formats import from_complement, from_signed

RAW_PER_MV2 = 838_860_800 / 9e6
PULSE_HZ_PER_RAW = 2.5
FULL_SCALE_MV = 600.0
SMALL_POWER_SCALE = 100_000 * 2**22

_LINE_GAINS = (4.0, 8.0, 16.0, 24.0)
_NEUTRAL_GAINS = (2.0, 4.0)


def line_gain(mmode: int) -> float:
    """Analogue gain of the L current input (MMode 15:13)."""
    code = mmode >> 13
    return 1.0 if code & 4 else _LINE_GAINS[code]


def neutral_gain(mmode: int) -> float:
    """Analogue gain of the N current input (MMode 12:11)."""
    code = mmode >> 11 & 3
    return 1.0 if code & 2 else _NEUTRAL_GAINS[code]


def phase_deg(register: int, hz: float) -> float:
    """Delay that Lphi or Nphi adds, in degrees: one step is one period of 2.048 MHz."""
    return from_signed(register, 10) * 360.0 * hz / 2.048e6


def gain_factor(register: int) -> float:
    """Lgain or Ngain as a factor, 0.5 to 1.5."""
    return 1 + from_complement(register) / 2**15


@dataclass(frozen=True)
class LineInput:
    """One current input as registers and circuit have set it up, per watt at the socket.

    p_raw_per_w, q_raw_per_w: raw active and reactive power, before Lgain. scaled_mv_per_w: G * mV rms of the current.
    angle_deg: lag of the fundamental, -180 to 180. ceiling_w: where the converter clips.
    """

    angle_deg: float = 0.0
    p_raw_per_w: float = 0.0
    q_raw_per_w: float = 0.0
    scaled_mv_per_w: float = 0.0
    ceiling_w: float = math.inf


@dataclass(frozen=True)
class Inputs:
    """Both current inputs, and what of them the metering chain counts."""

    line: LineInput
    neutral: LineInput
    meters_line: bool
    p_raw_per_w: float
    q_raw_per_w: float
    ceiling_w: float


def line_input(circuit: Circuit, gain: float, phi: int, share: float) -> LineInput:
    """One input with analogue gain `gain`, phase register `phi`, and `share` of the load's current through its sensor."""
    sensors, load, mains = circuit.sensors, circuit.load, circuit.mains
    if mains.volts <= 0 or share <= 0:
        return LineInput()
    angle_deg = load.displacement_deg + sensors.current_phase_deg + phase_deg(phi, mains.hz) + 180 * sensors.reversed_ct
    mv_per_a = sensors.current_mv_per_a * (1 + sensors.current_error) * share * circuit.reference_factor
    mv_per_w = mv_per_a / (mains.volts * load.power_factor)
    raw_va = RAW_PER_MV2 * gain * mv_per_a * circuit.voltage_mv / mains.volts
    raw_per_w = raw_va / math.cos(load.displacement_rad)
    return LineInput(
        angle_deg=(angle_deg + 180) % 360 - 180,
        p_raw_per_w=raw_per_w * math.cos(math.radians(angle_deg)),
        q_raw_per_w=raw_per_w * math.sin(math.radians(angle_deg)),
        scaled_mv_per_w=gain * mv_per_w,
        ceiling_w=FULL_SCALE_MV / (gain * mv_per_w),
    )


def work_out_inputs(circuit: Circuit, values: Sequence[int], straps: int) -> Inputs:
    """Fold circuit and registers into the factors that integration needs."""
    mmode = values[reg.M_MODE]
    line = line_input(circuit, line_gain(mmode), values[reg.L_PHI], 1.0)
    neutral = line_input(circuit, neutral_gain(mmode), values[reg.N_PHI], circuit.sensors.neutral_share)
    meters_line, meters_neutral = metered_lines(straps, mmode, line, neutral)
    scale = 1 + circuit.flaws.metering_error
    of_line = scale * gain_factor(values[reg.L_GAIN]) * meters_line
    of_neutral = scale * gain_factor(values[reg.N_GAIN]) * meters_neutral
    return Inputs(
        line=line,
        neutral=neutral,
        meters_line=meters_line,
        p_raw_per_w=of_line * line.p_raw_per_w + of_neutral * neutral.p_raw_per_w,
        q_raw_per_w=of_line * line.q_raw_per_w + of_neutral * neutral.q_raw_per_w,
        ceiling_w=line.ceiling_w if meters_line else neutral.ceiling_w,
    )


def metered_lines(straps: int, mmode: int, line: LineInput, neutral: LineInput) -> tuple[bool, bool]:
    """Which of (L, N) drives the energy registers, by the strap pins MMD1:MMD0 (datasheet 3.6).

    00 compares both and takes the larger, 01 fixes L, 10 adds both, 11 lets LNSel (MMode bit 10) choose.
    """
    if straps == 0b01:
        return True, False
    if straps == 0b10:
        return True, True
    if straps == 0b11:
        chosen = bool(mmode & 0x0400)
    else:
        chosen = abs(neutral.p_raw_per_w) <= abs(line.p_raw_per_w) * (1 + _anti_tamper_threshold(mmode))
    return chosen, not chosen


def _anti_tamper_threshold(mmode: int) -> float:
    code = mmode & 0xF
    return (0.125, 0.0625, 0.03125, 0.015625)[code] if code < 4 else (code - 3) / 100
