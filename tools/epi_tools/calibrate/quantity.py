"""A reading as a person types it: `10.03`, `10,03 W`, `0.01003 kW`, `230.1 V`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from epi_tools.calibrate.errors import CalibrationError

_NUMBER = re.compile(r"\s*(?P<whole>\d{1,9})(?P<mark>[.,])?(?P<part>\d{0,9})\s*(?P<unit>[^\d\s]*)\s*")
_PREFIXES = {"": 0, "m": -3, "k": 3}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A positive value in its base unit; `half_digit` is half of its last digit: the reading is no better than that.

    `said` repeats in the base unit what was read in another way, "" where that is plain.
    """

    value: float
    half_digit: float
    said: str = ""

    @property
    def coarseness(self) -> float:
        """Half of the last digit as a share of the value."""
        return self.half_digit / self.value


def parse_quantity(text: str, unit: str, name: str) -> Quantity:
    """Read `text` as a value in `unit` (W, V, A, ohm, or "" for a plain number); m and k before the unit are understood.

    Raises CalibrationError with what to write instead; `name` says whose value it is.
    """
    found = _NUMBER.fullmatch(text)
    if not found:
        raise CalibrationError(f"{name} is {text!r}, which is not a positive number{_in(unit)}: write it like {_example(unit)}.")
    whole, mark, part, suffix = found.group("whole", "mark", "part", "unit")
    if mark == "," and len(part) == 3 and whole != "0":
        raise CalibrationError(f"{name} is {text!r}, where the comma may part thousands or decimals: write a decimal point.")
    exponent = _exponent(suffix, unit, text, name)
    value = round(float(f"{whole}.{part or 0}e{exponent}"), 12)
    if value == 0:
        raise CalibrationError(f"{name} is {text!r}: a reference of zero says nothing about a gain.")
    plain = mark != "," and exponent == 0
    return Quantity(value, 0.5 * 10.0 ** (exponent - len(part)), "" if plain else f"{text.strip()} was read as {value:g} {unit}")


def _exponent(suffix: str, unit: str, text: str, name: str) -> int:
    suffix = suffix.replace("Ω", "ohm")
    if not suffix:
        return 0
    for prefix, exponent in _PREFIXES.items():
        if unit and suffix.lower() == (prefix + unit).lower() and suffix[0] != "M":
            return exponent
    raise CalibrationError(f"{name} is {text!r}, whose unit is not understood: write it{_in(unit)}, like {_example(unit)}.")


def _in(unit: str) -> str:
    return f" in {unit}" if unit else ""


def _example(unit: str) -> str:
    return {"W": "10.03", "V": "230.1", "A": "0.0436"}.get(unit, "0.50")
