"""The meter board at virtual time: the firmware's own loop in this Python, on chip models that read a hidden profile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from epi_tools.chip import ASSUMED_TIMING, PI_SENSORS, Circuit, Imperfections, Load
from epi_tools.plant.source import Source
from epi_tools.sim.virtual import VirtualBoard
from epi_tools.simrun.delays import BoardLine, BoardTicks, RunningApart
from epi_tools.simrun.errors import TruthError
from epi_tools.simrun.truth import Meter, Truth

BOARD_ID = "53494d52554e0001"
CHANNEL_NAME = "pi0"
_POWER_UP_NS = 10_000_000
_SWEEP_NS = 20_000_000
"""Longer than one sweep over one chip takes, with what is sent after it."""


class SimulatedBoard:
    """A board with one channel, switched on at `start_ns` of true time."""

    def __init__(self, truth: Truth, source: Source, seed: int, boot: int, start_ns: int, delay_ns: Callable[[], int]) -> None:
        meter = truth.meter
        chip_rng, boot_rng = _chip_draws(seed), Random(f"boot {seed} {truth.arm} {boot}")
        circuit = _circuit(meter, _drawn_gain(meter, chip_rng), chip_rng)
        timing = replace(ASSUMED_TIMING, refresh_ns=round(meter.refresh_ms * 1e6), window_ns=round(meter.window_ms * 1e6))
        self._board = VirtualBoard([source], circuit, timing, start_ns, boot_rng.randrange(1 << 30))
        self.clock = self._board.clock
        self.clock.sleep_us(_POWER_UP_NS // 1000)
        self.line = BoardLine(self.clock, delay_ns, max(0, 1_000_000_000 // meter.sample_hz - _SWEEP_NS))
        shown = RunningApart(truth.clocks.board_ppm, boot_rng.randrange(1 << 40))
        self._meter = _firmware_meter(self._board, BoardTicks(self.clock, shown), self.line, meter, boot_rng.randbytes(4))

    def turn(self) -> None:
        """One pass of the firmware's loop."""
        self._meter.turn()


def true_gain(meter: Meter, seed: int) -> float:
    """What the energies of this seed's chip are truly multiplied by."""
    return _drawn_gain(meter, _chip_draws(seed))


def _chip_draws(seed: int) -> Random:
    return Random(f"chip {seed}")


def _drawn_gain(meter: Meter, chip_rng: Random) -> float:
    return 1 + chip_rng.gauss(0, meter.gain_within / 2)


def _circuit(meter: Meter, gain: float, rng: Random) -> Circuit:
    flaws = Imperfections(
        crystal_ppm=rng.uniform(-meter.crystal_ppm, meter.crystal_ppm), noise_w=meter.noise_w, noise_v=0.02, noise_a=2e-4
    )
    return Circuit(replace(PI_SENSORS, current_error=gain - 1), Load(), flaws=flaws)


def _firmware_meter(board: VirtualBoard, ticks: BoardTicks, line: BoardLine, meter: Meter, boot_id: bytes) -> Any:
    config, description, app = (_firmware_module(name) for name in ("config", "description", "app"))
    record = {"gain_ppm": 0, "within_ppm": max(1, round(meter.gain_within * 1e6)), "phase_mdeg": 0, "utc": "simulated"}
    wanted = {"sample_hz": meter.sample_hz, "channels": [{"name": CHANNEL_NAME, "calibration": record}]}
    settings, complaints = config.checked(wanted, "[meter]")
    if complaints:
        raise TruthError(f"The firmware does not take this meter: {complaints[0]}.")
    hello = description.hello_payload(boot_id, BOARD_ID, "none", "CPython with chip models", True, settings)
    return app.Meter(board.spi(), board.cs_pins(), line, ticks, settings, boot_id, hello)


def _firmware_module(name: str) -> Any:
    """A module of the firmware, which is no installed package: it lies beside the tools in the repository."""
    folder = str(Path(__file__).resolve().parents[3] / "firmware")
    if not Path(folder, "epi_firmware").is_dir():
        raise TruthError(f"There is no firmware in {folder}: install the tools with `pip install -e`, from a whole checkout.")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(f"epi_firmware.{name}")
