"""What a calibration needs of a meter: sweeps as they come, its configuration, and a way to store another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

from epi_tools.calibrate.config_file import BoardConfig, ChannelConfig, record_in
from epi_tools.calibrate.errors import CalibrationError
from epi_tools.calibrate.readings import Sweep
from epi_tools.calibrate.registers import registers_of
from epi_tools.chip import block_checksum

SURVEY = """
import json
from epi_firmware import blocks, config
settings, complaints = config.load({path!r})
print(json.dumps([complaints, [[c, blocks.metering_block(c), blocks.measurement_block(c)] for c in settings["channels"]]]))
"""
"""Runs on the board: its own code says what a file means, so nothing here repeats its formulas."""

_SET_UP = re.compile(r"(?P<name>.*): set up; the chip's checksums are (?P<cs1>[0-9A-F]{4})H and (?P<cs2>[0-9A-F]{4})H.*")
_TAKEN_OVER = "the chip is running with our settings"


class Bench(Protocol):
    """A meter on the bench. `description` is its HELLO, `logs` what it has said since its last start."""

    description: dict[str, Any]
    logs: list[str]

    def sweeps(self) -> Iterator[Sweep]:
        """Sweeps from now on, as they come; CalibrationError or BoardError when they stop."""

    def config(self) -> BoardConfig:
        """Read the configuration; the board may restart for it."""

    def store(self, text: str, checked: bool = True) -> BoardConfig:
        """Replace config.json in one step and restart with it; nothing is changed where the firmware complains about it.

        `checked` False stores it all the same: what a person had there before comes back, right or wrong.
        """


def parse_survey(text: str, printed: str) -> BoardConfig:
    """What SURVEY printed about a file with this text."""
    complaints, channels = json.loads(printed)
    return BoardConfig(
        text,
        tuple(
            ChannelConfig(settings, registers_of(metering, measurement), tuple(metering), tuple(measurement), record_in(text, at))
            for at, (settings, metering, measurement) in enumerate(channels)
        ),
        tuple(complaints),
    )


def check_complaints(before: BoardConfig, after: BoardConfig) -> None:
    """The firmware finds nothing wrong with the new file that it did not find before."""
    new = [line for line in after.complaints if line not in before.complaints and "calibration is not a setting" not in line]
    if new:
        raise CalibrationError(f"The board's firmware refuses the new settings ({new[0]}); nothing was stored.")


def check_read_back(name: str, wanted: ChannelConfig, logs: list[str]) -> str:
    """The chip itself has computed the checksums of the wanted registers; returns them as text.

    The chip's own checksum of a block is a reading of all its registers at once (datasheet, 2CH and 3BH).
    """
    wanted_text = f"{block_checksum(wanted.metering):04X} {block_checksum(wanted.measurement):04X}"
    for line in reversed(logs):
        found = _SET_UP.fullmatch(line)
        if found and found["name"] == name:
            if f"{found['cs1']} {found['cs2']}" == wanted_text:
                return wanted_text
            raise CalibrationError(
                f"Read-back failed: the chip of {name} holds registers with checksums {found['cs1']} {found['cs2']}, and "
                f"{wanted_text} were meant"
            )
        if line.startswith(f"{name}: {_TAKEN_OVER}"):
            return wanted_text
    raise CalibrationError(f"Read-back failed: the board did not say with which registers the chip of {name} runs")
