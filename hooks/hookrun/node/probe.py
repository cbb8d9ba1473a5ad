"""One look at the node itself: temperature, clock, throttling, load, memory, and the supply rails where the board tells them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .vcgencmd import Firmware, Vcgencmd

_THROTTLED_FILE = "devices/platform/soc/soc:firmware/get_throttled"
_CPU_ZONES = ("cpu-thermal", "x86_pkg_temp", "cpu_thermal", "soc-thermal", "acpitz")
"""Names of the zones that are the processor's, the best first (Linux thermal sysfs, `type`)."""


class NodeProbe:
    """Reads sysfs, procfs and the firmware. `read` leaves out what this node does not tell; it never raises for that."""

    def __init__(self, sys: Path = Path("/sys"), proc: Path = Path("/proc"), firmware: Firmware | None = None) -> None:
        self._sys, self._proc = sys, proc
        self._firmware: Firmware = Vcgencmd() if firmware is None else firmware
        self._temperature_file = _temperature_file(sys)

    def read(self) -> dict[str, float]:
        """Return readings by name, as epi_protocol.events.READINGS lists them."""
        readings = {
            "temperature_c": self.temperature_c(),
            "cpu_hz": self._cpu_hz(),
            "throttled": self.throttled(),
            "load": _first_number(self._proc / "loadavg"),
            "memory_available_bytes": self._memory_available_bytes(),
        }
        found = {name: float(value) for name, value in readings.items() if value is not None}
        return found | {f"rail_{name}_w": watts for name, watts in self._firmware.rails_w().items()}

    def temperature_c(self) -> float | None:
        """Return the processor's temperature, or None where there is no sensor."""
        millidegrees = None if self._temperature_file is None else _first_number(self._temperature_file)
        return None if millidegrees is None else millidegrees / 1000

    def throttled(self) -> int | None:
        """Return the firmware's throttling flags, or None where there is no such firmware."""
        text = _text(self._sys / _THROTTLED_FILE)
        try:
            return self._firmware.throttled() if text is None else int(text, 16)
        except ValueError:
            return None

    def _cpu_hz(self) -> float | None:
        """Return the clock of the slowest core."""
        files = (self._sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        khz = [value for value in map(_first_number, files) if value is not None]
        return min(khz) * 1000 if khz else None

    def _memory_available_bytes(self) -> float | None:
        for line in (_text(self._proc / "meminfo") or "").splitlines():
            name, _colon, value = line.partition(":")
            if name == "MemAvailable":
                kilobytes = _first_word_as_number(value)
                return None if kilobytes is None else kilobytes * 1024
        return None


def _temperature_file(sys: Path) -> Path | None:
    zones = {_text(zone / "type"): zone / "temp" for zone in _zones(sys)}
    return next((zones[name] for name in _CPU_ZONES if name in zones), next(iter(zones.values()), None))


def _zones(sys: Path) -> Iterable[Path]:
    return sorted((sys / "class/thermal").glob("thermal_zone*"))


def _first_number(path: Path) -> float | None:
    return _first_word_as_number(_text(path) or "")


def _first_word_as_number(text: str) -> float | None:
    try:
        return float(text.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return None


def _text(path: Path) -> str | None:
    """Return a small file's text; None where the kernel has no such file, or its driver does not answer now."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
