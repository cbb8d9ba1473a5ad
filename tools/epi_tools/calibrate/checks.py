"""What must hold of a load before its readings mean anything; each check ends in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

from epi_tools.calibrate.averages import Averages, blocks_of
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import ABSENT, CALIBRATION_ERROR, NO_LOAD, REINIT, STALE, UNKNOWN, Reading
from epi_tools.calibrate.reference import UNITY_PF, Reference

STEP = 0.005
"""A second that differs this much from the others is a change of the load, not noise."""

MAX_ERROR = 0.2
"""Beyond this, something other than the tolerance of parts is wrong."""

OPEN_W, OPEN_A = 0.25, 0.02
OFFSET_W = 0.005
NOTHING = "nothing was stored"

_BROKEN = (
    (ABSENT, "its chip does not answer: check the wiring"),
    (REINIT, "its chip was reset while it was measured: check its supply, and begin again"),
    (CALIBRATION_ERROR, "its chip reports a checksum error: begin again"),
    (STALE, "its readings stand still: is there mains at its voltage input?"),
    (UNKNOWN, "an energy reading was lost on the way: begin again"),
)


def check_chip(channel: int, reading: Reading) -> None:
    """The chip answers, runs, and keeps its registers."""
    for flag, sentence in _BROKEN:
        if reading.flags & flag:
            raise CalibrationError(f"Channel {channel} cannot be measured, {sentence}; {NOTHING}.")


def check_steady(channel: int, readings: Sequence[Reading]) -> None:
    """No second of `readings` stands out: a load that was switched, or that drifts, is no reference."""
    blocks = blocks_of(readings)
    if len(blocks) < 2:
        return
    means = [fmean(reading.p_w for reading in block) for block in blocks]
    level = median(means)
    noises_w = [stdev(reading.p_w for reading in block) / math.sqrt(len(block)) for block in blocks if len(block) > 1]
    limit_w = max(STEP * abs(level), 8 * median(noises_w or [0.0]), OPEN_W / 10)
    odd = next((at for at, mean in enumerate(means) if abs(mean - level) > limit_w), None)
    if odd is not None:
        raise CalibrationError(
            f"The load on channel {channel} changed while it was measured, between {min(means):.2f} W and {max(means):.2f} W: "
            f"let it run steadily and begin again; {NOTHING}."
        )


def check_quiet(channel: int, before: Averages, after: Averages) -> None:
    """Offsets that were stored do what they were made for."""
    if abs(after.p_w.value) > max(OFFSET_W, abs(before.p_w.value)):
        raise CalibrationError(
            f"With the new offsets channel {channel} reads {after.p_w.value * 1000:.1f} mW of nothing, after "
            f"{before.p_w.value * 1000:.1f} mW before; {NOTHING}."
        )


def check_open(channel: int, seen: Averages, readings: Sequence[Reading]) -> None:
    """No current flows through this channel's transformer."""
    flows = not all(reading.flags & NO_LOAD for reading in readings)
    if abs(seen.p_w.value) > OPEN_W or seen.i_a.value > OPEN_A or flows:
        raise CalibrationError(
            f"Channel {channel} still measures {seen.p_w.value:.2f} W: open its current circuit (unplug the load, or take its "
            f"lead out of the transformer) before the offsets; {NOTHING}."
        )


def check_threshold(channel: int, open_circuit: Averages, start_w: float) -> None:
    """What an open circuit reads must not count as energy."""
    if start_w < 4 * abs(open_circuit.p_w.value):
        raise CalibrationError(
            f"The start-up power of channel {channel}, {start_w:g} W, is not clear of the {open_circuit.p_w.value:.3f} W that "
            f"its open circuit reads: raise it with --start-w; {NOTHING}."
        )


def check_load(channel: int, powers_w: Sequence[float], reference: Reference) -> None:
    """The reference's load, and no other, is what `channel` sees; `powers_w` has one mean power per channel."""
    mine = powers_w[channel]
    others = [(abs(p_w / reference.w - 1), at) for at, p_w in enumerate(powers_w) if at != channel]
    error, other = min(others, default=(math.inf, -1))
    own_error = abs(abs(mine) / reference.w - 1)
    if own_error > MAX_ERROR and error < MAX_ERROR:
        raise CalibrationError(
            f"Channel {channel} measures {mine:.2f} W, and channel {other} {powers_w[other]:.2f} W, which is the reference's "
            f"{reference.w:g} W: the load is on channel {other}, or their transformers are swapped; {NOTHING}."
        )
    if abs(mine) < 0.02 * reference.w:
        raise CalibrationError(
            f"Channel {channel} measures {mine:.2f} W where the reference says {reference.w:g} W: switch the load on, with "
            f"its lead through this channel's transformer; {NOTHING}."
        )
    if mine < 0:
        raise CalibrationError(
            f"Channel {channel} measures {mine:.2f} W: its current transformer sits the wrong way round; turn it, or swap its "
            f"two wires, and begin again; {NOTHING}."
        )
    if own_error > MAX_ERROR:
        raise CalibrationError(f"{_far_off(channel, mine, reference.w)}; {NOTHING}.")


def check_power_factor(seen: Averages, reference: Reference, unity: bool) -> None:
    """The load has the power factor that the step needs, by what was told and by the chip's own P and Q."""
    found = seen.p_w.value / math.hypot(seen.p_w.value, seen.q_var.value)
    if unity and not reference.is_unity:
        raise CalibrationError(f"The gain needs a load at PF 1, such as a lamp, and this one has PF {reference.pf:g}; {NOTHING}.")
    if not unity and reference.pf > 0.9:
        raise CalibrationError(f"The phase needs a load at PF 0.5 or so, and this one has PF {reference.pf:g}; {NOTHING}.")
    if unity and found < UNITY_PF - 0.03:
        raise CalibrationError(
            f"The load is taken to have PF 1, and its P and Q make {found:.2f}: use a lamp or a heater; {NOTHING}."
        )
    if not unity and abs(math.acos(min(1.0, found)) - math.acos(reference.pf)) > math.radians(15):
        raise CalibrationError(f"The reference says PF {reference.pf:g}, and the load's P and Q make {found:.2f}; {NOTHING}.")


def check_certain(seen: Averages, tolerance: float, tick_j: float) -> None:
    """The scatter leaves room for the tolerance."""
    share = 2 * seen.energy_w.sem / abs(seen.energy_w.value)
    if share > tolerance:
        needed_s = math.ceil(1.05 * seen.seconds * share / tolerance)
        raise CalibrationError(
            f"After {seen.seconds:.0f} s the energy is known to {share:.3%} only, and the tolerance is {tolerance:.2%}: measure "
            f"for {needed_s} s (--seconds), or use a larger load; {NOTHING}."
        )


def _far_off(channel: int, p_w: float, reference_w: float) -> str:
    said = f"Channel {channel} measures {p_w:.2f} W where the reference says {reference_w:g} W"
    ratio = p_w / reference_w
    if 800 < ratio < 1250:
        return f"{said}: the reading was in kW; add the unit, like '{reference_w:g} kW'"
    for turns in range(1, 9):
        for meant in range(1, 9):
            if turns != meant and abs(ratio * meant / turns - 1) < 0.05:
                return (
                    f"{said}, as with {turns} turns through the transformer instead of {meant}: mend the turns, or give --turns"
                )
    return f"{said}: check turns, burden, divider and reference, since a calibration mends up to {MAX_ERROR:.0%}"
