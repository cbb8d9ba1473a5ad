"""How the processor's clock is governed, and whether that would spoil a comparison of two runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

THROTTLED_NOW = 0xF
"""Bits of the Raspberry Pi's flags that hold now: undervoltage, clock capped, throttled, soft temperature limit."""
_WANDERING = frozenset({"powersave", "ondemand", "conservative", "schedutil", "interactive"})


@dataclass(frozen=True, slots=True)
class Processor:
    """State before a run; None is what this machine does not tell. `governors` are those of all cores, each once."""

    governors: tuple[str, ...]
    turbo: bool | None
    min_hz: float | None
    max_hz: float | None
    throttled: int | None

    def to_map(self) -> dict[str, Any]:
        """Return it for the settings of a run."""
        return asdict(self) | {"governors": list(self.governors)}

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each thing that would spoil a comparison."""
        wandering = _WANDERING.intersection(self.governors)
        if wandering and self.min_hz != self.max_hz:
            yield (
                f"the cores' clock is left to the governor {'/'.join(sorted(wandering))} and moves with the load; runs compare "
                "better at a fixed one: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        if self.throttled is not None and self.throttled & THROTTLED_NOW:
            yield (
                f"the board throttles its processor now (flags {self.throttled:#x}: undervoltage or heat); what is measured is a "
                "slower machine. Check supply and cooling"
            )


def read_processor(sys: Path = Path("/sys"), throttled: int | None = None) -> Processor:
    """Read the state from sysfs; the flags come from NodeProbe, which knows where the firmware tells them."""
    cpus = sys / "devices/system/cpu"
    governors = {_text(file) for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {None}
    lowest = [khz for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_min_freq") if (khz := _number(file)) is not None]
    highest = [khz for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_max_freq") if (khz := _number(file)) is not None]
    return Processor(
        governors=tuple(sorted(filter(None, governors))),
        turbo=_turbo(cpus),
        min_hz=min(lowest) * 1000.0 if lowest else None,
        max_hz=max(highest) * 1000.0 if highest else None,
        throttled=throttled,
    )


def _turbo(cpus: Path) -> bool | None:
    without = _number(cpus / "intel_pstate/no_turbo")
    if without is not None:
        return not without
    boost = _number(cpus / "cpufreq/boost")
    return None if boost is None else bool(boost)


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text and text.isdecimal() else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None
