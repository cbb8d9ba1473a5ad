"""A register-level model of the ATM90E26 energy meter chip, down to chip select edges and single clocks."""

from epi_tools.chip.atm90e26 import Atm90e26
from epi_tools.chip.checksum import block_checksum
from epi_tools.chip.circuit import (
    ASSUMED_TIMING,
    PI_SENSORS,
    REFERENCE_CIRCUIT,
    ChipTiming,
    Circuit,
    Imperfections,
    Load,
    Mains,
    PowerSource,
    Sensors,
)
from epi_tools.chip.line_faults import CutLine, LineFaults
from epi_tools.chip.spi_port import SpiPort, read_frame, write_frame

__all__ = [
    "ASSUMED_TIMING",
    "PI_SENSORS",
    "REFERENCE_CIRCUIT",
    "Atm90e26",
    "ChipTiming",
    "Circuit",
    "CutLine",
    "Imperfections",
    "LineFaults",
    "Load",
    "Mains",
    "PowerSource",
    "Sensors",
    "SpiPort",
    "block_checksum",
    "read_frame",
    "write_frame",
]
