"""From two loads to the errors of a channel, and from errors to registers.

A channel that multiplies power by g and delays the current by d shows, of a load whose current lags by phi,
cos(phi + d) / cos(phi) * g = g cos(d) - g sin(d) tan(phi) of the truth: linear in two unknowns, so two loads tell both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from epi_tools.calibrate.averages import Averages
from epi_tools.calibrate.reference import Reference
from epi_tools.calibrate.registers import (
    Registers,
    measurement_gain,
    metering_gain,
    phase_delay,
    power_offset,
    rms_offset,
)


@dataclass(frozen=True, slots=True)
class Scales:
    """What one unit of a main register is, and one tick of energy; from HELLO."""

    p_w: float
    q_var: float
    u_v: float
    i_a: float
    tick_j: float


@dataclass(frozen=True, slots=True)
class Load:
    """A load as the reference knows it and as the channel saw it."""

    reference: Reference
    seen: Averages

    @property
    def error(self) -> float:
        """Relative error of the energy registers."""
        return self.seen.energy_w.value / self.reference.w - 1

    @property
    def power_error(self) -> float:
        """Relative error of the mean power."""
        return self.seen.p_w.value / self.reference.w - 1

    @property
    def tan_phi(self) -> float:
        """Tangent of the load's true angle: the reference's, with the sign that the chip saw."""
        return math.copysign(self.reference.tan_phi, self.seen.q_var.value)

    @property
    def within(self) -> float:
        """Relative standard uncertainty of `error`: scatter, and what is known of the reference."""
        return math.hypot(self.seen.energy_w.sem / self.reference.w, self.reference.within)


@dataclass(frozen=True, slots=True)
class Errors:
    """What a channel does wrong. `gain` relative, `lag_deg` excess lag of the current; NaN where it was not measured.

    `gain_within` and `lag_within_deg` are standard uncertainties.
    """

    gain: float = math.nan
    gain_within: float = math.nan
    lag_deg: float = math.nan
    lag_within_deg: float = math.nan


@dataclass(frozen=True, slots=True)
class Measured:
    """What was at the socket, as far as it was measured."""

    open_circuit: Averages | None = None
    unity: Load | None = None
    lagging: Load | None = None

    @property
    def errors(self) -> Errors:
        """Gain and lag of the channel."""
        return errors_of(self.unity, self.lagging)


def errors_of(unity: Load | None, lagging: Load | None) -> Errors:
    """Solve for gain and lag from a load at PF 1, one at PF 0.5, or both. A lone load tells one, the other taken as right."""
    if unity and lagging:
        spread = lagging.tan_phi - unity.tan_phi
        b = (unity.error - lagging.error) / spread
        a = 1 + unity.error + b * unity.tan_phi
        lag_within = math.hypot(unity.within, lagging.within) / abs(spread)
        return Errors(math.hypot(a, b) - 1, unity.within, math.degrees(math.atan2(b, a)), math.degrees(lag_within))
    if unity:
        return Errors(gain=unity.error, gain_within=unity.within)
    if lagging:
        phi = math.atan(lagging.tan_phi)
        seen = math.acos(max(-1.0, min(1.0, (1 + lagging.error) * math.cos(phi))))
        within = math.degrees(lagging.within / abs(lagging.tan_phi))
        return Errors(lag_deg=math.degrees(math.copysign(seen, phi) - phi), lag_within_deg=within)
    return Errors()


def with_offsets(old: Registers, open_circuit: Averages, scales: Scales) -> Registers:
    """Registers whose offsets make an open current circuit read nothing; what is lost in the scatter is no offset."""
    to_raw = 1 / old.raw_power
    return old.changed(
        p_offset=power_offset(open_circuit.p_w.significant / scales.p_w * to_raw, old.p_offset),
        q_offset=power_offset(open_circuit.q_var.significant / scales.q_var * to_raw, old.q_offset),
        i_offset=rms_offset(open_circuit.i_a.significant / scales.i_a, old.i_gain, old.i_offset),
    )


def with_gain(old: Registers, new: Registers, unity: Load, found: Errors, scales: Scales) -> Registers:
    """`new` with Lgain, Ugain and IgainL set; `old` are the registers with which `unity` was measured.

    IgainL is chosen so that the mean power is right (P goes with Ugain * IgainL): the current of a small load carries noise that
    its power does not. For the note's sine of some amperes both ways are one.
    """
    reference, seen = unity.reference, unity.seen
    u_gain = old.u_gain
    if not math.isnan(reference.v):
        u_gain = measurement_gain(reference.v, seen.u_v.value, old.u_gain)
    lag_rad = 0.0 if math.isnan(found.lag_deg) else math.radians(found.lag_deg)
    shift = _signed_difference(new.p_offset, old.p_offset) * old.raw_power * scales.p_w
    p_w = (seen.p_w.value + shift) / math.cos(lag_rad) * u_gain / old.u_gain
    i_gain = measurement_gain(reference.w, p_w, old.i_gain)
    return new.changed(l_gain=metering_gain(found.gain, old.l_gain), u_gain=u_gain, i_gain=i_gain)


def with_phase(old: Registers, new: Registers, found: Errors, line_hz: float) -> Registers:
    """`new` with Lphi set."""
    return new.changed(l_phi=phase_delay(found.lag_deg, line_hz, old.l_phi))


def _signed_difference(new: int, old: int) -> int:
    return (new - old + 0x8000 & 0xFFFF) - 0x8000
