"""A bench to calibrate at: sensors with hidden errors, and loads that somebody changes while the simulation runs.

The file that says what stands on the bench is a JSON object: channel → lag of its load's current in degrees (a sine), or "open"
for a lead that is not in its transformer. `{"0": "open"}`, later `{"0": 0}`, later `{"0": 60}` is all that a calibration needs.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from epi_tools.chip import PI_SENSORS, Atm90e26, Circuit, Load, Sensors
from epi_tools.plant import CHANNELS

OPEN = "open"
_NO_CURRENT = 1e-9  # of what flows; the chip's model needs some


class WorkbenchError(ValueError):
    """What cannot stand on a bench; the text is one sentence for the user."""


def hidden_sensors(gains: Iterable[str], phases: Iterable[str]) -> list[Sensors]:
    """Sensors of all channels from `N=FACTOR` (current read too high) and `N=DEGREES` (current lags)."""
    gain, phase = _numbers(gains, "--hidden-gain", 0.1, 10.0), _numbers(phases, "--hidden-phase", -180.0, 180.0)
    return [
        replace(PI_SENSORS, current_error=gain.get(at, 1.0) - 1, current_phase_deg=phase.get(at, 0.0)) for at in range(CHANNELS)
    ]


class Workbench:
    """Looks at its file and changes the chips' surroundings; a file that is not understood is said once, and changes nothing."""

    def __init__(self, path: Path, chips: Sequence[Atm90e26], circuits: Sequence[Circuit]) -> None:
        self._path, self._chips, self._circuits = path, chips, circuits
        self._text, self._trouble = "{}", ""

    def look(self) -> None:
        """Do what the file says, when it has changed."""
        try:
            text = self._path.read_text(encoding="utf-8") if self._path.exists() else "{}"
            if text in ("", self._text):  # empty while somebody writes it
                return
            wanted = parse_bench(text)
        except (OSError, UnicodeDecodeError, WorkbenchError) as error:
            self._say(str(error))
            return
        self._text, self._trouble = text, ""
        for at, (chip, circuit) in enumerate(zip(self._chips, self._circuits, strict=True)):
            _put(chip, circuit, wanted.get(at))

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            print(f"epi sim: {trouble}", file=sys.stderr, flush=True)


def parse_bench(text: str) -> dict[int, float | str]:
    """Channel → lag in degrees, or OPEN. Raises WorkbenchError."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise WorkbenchError("The bench file is not a JSON object of channels.")
    wanted: dict[int, float | str] = {}
    for name, load in content.items():
        is_lag = isinstance(load, int | float) and not isinstance(load, bool) and -90 < load < 90
        if not (name.isdecimal() and int(name) < CHANNELS and (is_lag or load == OPEN)):
            raise WorkbenchError(f"The bench file says {name}: {load!r}; write a channel and its lag in degrees, or {OPEN!r}.")
        wanted[int(name)] = load
    return wanted


def _put(chip: Atm90e26, circuit: Circuit, wanted: float | str | None) -> None:
    """What stands at one socket; None is what stood there at the start."""
    sensors, load = circuit.sensors, circuit.load
    if wanted == OPEN:
        sensors = replace(sensors, current_mv_per_a=sensors.current_mv_per_a * _NO_CURRENT)
    elif wanted is not None:
        load = Load(float(wanted), 1.0)
    chip.change(sensors=sensors, load=load)


def _numbers(arguments: Iterable[str], option: str, least: float, most: float) -> dict[int, float]:
    numbers: dict[int, float] = {}
    for argument in arguments:
        channel, _, text = argument.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (channel.isdecimal() and int(channel) < CHANNELS and least <= value <= most):
            raise WorkbenchError(
                f"{option} {argument} is not N=VALUE with N from 0 to {CHANNELS - 1}, VALUE {least:g} to {most:g}."
            )
        numbers[int(channel)] = value
    return numbers
