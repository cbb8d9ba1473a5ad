"""The Raspberry Pi's firmware, asked through its command `vcgencmd`.

`pmic_read_adc` (Pi 5 only) prints one line per converter channel of the power chip, `VDD_CORE_A current(7)=0.71532000A` and
`VDD_CORE_V volt(15)=0.72031690V`; amperes times volts of one name are the watts of one rail. These are the board's own estimates
of direct current behind the power supply: no rail of the USB ports is among them, and their sum is not what the wall delivers.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import Protocol

PATIENCE_S = 2.0
_CHANNEL = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
_THROTTLED = re.compile(r"throttled=(0x[0-9a-fA-F]+)")


def rails_w(text: str) -> dict[str, float]:
    """Return watts by rail from what `pmic_read_adc` printed; a rail without both current and voltage is left out."""
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, unit, number in _CHANNEL.findall(text):
        (amperes if unit == "A" else volts)[name] = float(number)
    return {name: amperes[name] * volts[name] for name in amperes if name in volts}


def throttled_flags(text: str) -> int | None:
    """Return the flags from what `get_throttled` printed: bits 0–3 now, bits 16–19 since boot (undervoltage, capped, throttled,
    soft limit)."""
    match = _THROTTLED.search(text)
    return int(match[1], 16) if match else None


class Firmware(Protocol):
    """Whoever answers for the board's firmware."""

    def rails_w(self) -> dict[str, float]:
        """Return watts by supply rail; empty where there is no such power chip."""

    def throttled(self) -> int | None:
        """Return the throttling flags, or None."""


class Vcgencmd:
    """Runs the command; a question it cannot answer is not asked again."""

    def __init__(self, command: Sequence[str] = ("vcgencmd",)) -> None:
        self._command = tuple(command)
        self._unanswered: set[str] = set()

    @property
    def silent(self) -> bool:
        """Return whether it is known to answer nothing."""
        return {"pmic_read_adc", "get_throttled"} <= self._unanswered

    def rails_w(self) -> dict[str, float]:
        """Return watts by supply rail; empty where there is no such power chip."""
        return rails_w(self._ask("pmic_read_adc"))

    def throttled(self) -> int | None:
        """Return the throttling flags, or None."""
        return throttled_flags(self._ask("get_throttled"))

    def _ask(self, question: str) -> str:
        if question in self._unanswered:
            return ""
        try:
            done = subprocess.run((*self._command, question), capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        except subprocess.TimeoutExpired:
            return ""  # a busy firmware may answer the next time
        except (OSError, subprocess.CalledProcessError):
            self._unanswered.add(question)
            return ""
        return done.stdout
