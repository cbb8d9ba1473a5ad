"""What is known about the load: readings of a reference meter, or a resistor and its voltage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.quantity import Quantity, parse_quantity

UNITY_PF = 0.98
"""From here on a load counts as PF 1: a phase error of 1 degree then costs less than 0.4 %."""

MAX_COARSENESS = 0.005


@dataclass(frozen=True, slots=True)
class Given:
    """Options or answers of a person, as text; "" where nothing was said."""

    w: str = ""
    v: str = ""
    pf: str = ""
    ohm: str = ""
    within_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The true values. `within` is the relative standard uncertainty of `w`: its last digit, and what its maker states.

    `v` is NaN where nobody gave it. `maker_known`: whether the instrument's own accuracy is part of `within`.
    """

    w: float
    v: float
    pf: float
    within: float
    maker_known: bool
    remarks: tuple[str, ...] = ()

    @property
    def is_unity(self) -> bool:
        """Whether the load is close enough to PF 1 for a gain."""
        return self.pf >= UNITY_PF

    @property
    def tan_phi(self) -> float:
        """Tangent of the load's angle, taken as lagging; 0 for a load at PF 1."""
        return 0.0 if self.is_unity else math.sqrt(1 / self.pf**2 - 1)


def read_reference(given: Given) -> Reference:
    """Understand what was given; CalibrationError where it is missing, unclear or too coarse."""
    v = parse_quantity(given.v, "V", "The reference voltage") if given.v else None
    pf = parse_quantity(given.pf, "", "The reference power factor") if given.pf else None
    if pf and pf.value > 1:
        raise CalibrationError(f"The reference power factor is {given.pf}, and cannot be above 1.")
    w = _power(given, v)
    maker = 0.0 if given.within_percent is None else given.within_percent / 100
    read = [quantity for quantity in (w, v, pf) if quantity]
    return Reference(
        w=w.value,
        v=v.value if v else math.nan,
        pf=pf.value if pf else 1.0,
        within=math.hypot(w.coarseness / math.sqrt(3), maker / 2),
        maker_known=given.within_percent is not None,
        remarks=tuple(quantity.said for quantity in read if quantity.said),
    )


def _power(given: Given, v: Quantity | None) -> Quantity:
    if given.w:
        return _fine_enough(parse_quantity(given.w, "W", "The reference power"), given.w)
    if not given.ohm:
        raise CalibrationError(
            "There is no reference: give the meter's reading with --reference-w, or a resistor with --reference-ohm and "
            "--reference-v."
        )
    if not v:
        raise CalibrationError("A resistor as reference needs its voltage too: add --reference-v.")
    ohm = parse_quantity(given.ohm, "ohm", "The reference resistance")
    watts = v.value**2 / ohm.value
    coarseness = math.hypot(2 * v.coarseness, ohm.coarseness)
    return _fine_enough(Quantity(watts, coarseness * watts, f"{v.value:g} V on {ohm.value:g} ohm are {watts:.4g} W"), given.ohm)


def _fine_enough(power: Quantity, text: str) -> Quantity:
    if power.coarseness > MAX_COARSENESS:
        raise CalibrationError(
            f"The reference {text!r} is {power.value:g} W to within {power.half_digit:g} W, which is "
            f"{power.coarseness:.1%}: give it in W with more digits, like 10.03."
        )
    return power
