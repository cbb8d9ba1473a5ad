"""`truth.json`: what truly flowed, for everything downstream to be checked against."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from epi_tools.chip import Circuit
from epi_tools.plant import Ledger
from epi_tools.plant.cpu_load import NodePower


@dataclass(frozen=True)
class Setting:
    """What was simulated: the part of the truth that does not change."""

    seed: int
    power: NodePower
    specs: tuple[str, ...]
    circuits: tuple[Circuit, ...]


class TruthFile:
    """Written whole each time, under a temporary name, so that a reader never sees half of it.

    `trouble` says in one sentence why the latest attempt failed, "" when it did not.
    """

    def __init__(self, path: Path, setting: Setting, ledger: Ledger) -> None:
        self._path, self._setting, self._ledger = path, setting, ledger
        self.trouble = ""

    def keep(self, counters: dict[str, Any]) -> None:
        """Replace the file; a full disk must not stop the board, so it is said once, and tried again with the next call."""
        try:
            self.write(counters)
            self.trouble = ""
        except OSError as error:
            if not self.trouble:
                self.trouble = f"The true energies could not be written to {self._path}: {error.strerror}."
                print(f"epi sim: {self.trouble}", file=sys.stderr, flush=True)

    def write(self, counters: dict[str, Any]) -> None:
        """Replace the file. Raises OSError where the folder cannot be written."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self.content() | counters, separators=(",", ":")) + "\n")
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def content(self) -> dict[str, Any]:
        """energy_j is the plant's integral from `start_host_ns` to `until_host_ns`; in the series, one list per channel."""
        setting, ledger = self._setting, self._ledger
        return {
            "simulated": True,
            "clock": "CLOCK_MONOTONIC_RAW",
            "seed": setting.seed,
            "coefficients": asdict(setting.power),
            "start_host_ns": ledger.host_ns[0],
            "until_host_ns": ledger.until_ns,
            "channels": [
                {"spec": spec, "energy_j": energy_j, "circuit": asdict(circuit)}
                for spec, energy_j, circuit in zip(setting.specs, ledger.energy_j, setting.circuits, strict=True)
            ],
            "series": {
                "host_ns": ledger.host_ns,
                "energy_j": [list(column) for column in zip(*ledger.rows, strict=True)],
            },
        }
