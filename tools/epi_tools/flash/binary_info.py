"""What a firmware for RP2040 or RP2350 says about itself: Raspberry Pi's "binary info", as picotool reads it.

MicroPython declares its file system there as a block device, so that no table of boards is needed. Layout: pico-sdk,
src/common/pico_binary_info/include/pico/binary_info/structure.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from epi_tools.board import BoardError
from epi_tools.flash.uf2 import FLASH_START, Image

_MARK, _MARK_END = 0x7188_EBF2, 0xE71A_A390
_SEARCHED_BYTES = 4096
_STRING, _BLOCK_DEVICE = 6, 7
_RASPBERRY_PI, _MICROPYTHON = 0x5052, 0x504D  # the tags "RP" and "MP"
_PROGRAM_NAME, _PROGRAM_VERSION, _BOARD = 0x0203_1C86, 0x11A9_BC3A, 0xB63C_FFBB
_TEXT_BYTES = 128
_SECTOR_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A MicroPython in a UF2 file. `fs_address` and `fs_bytes` say where in flash its file system goes."""

    version: str
    board: str
    fs_address: int
    fs_bytes: int


def read_program_info(image: Image, name: str) -> ProgramInfo:
    """What the MicroPython in `image` declares; BoardError where the file `name` holds none."""
    strings, file_system = {}, None
    for address in _entries(image, name):
        kind, tag = struct.unpack("<2H", image.read(address, 4))
        if kind == _STRING and tag == _RASPBERRY_PI:
            key, text = struct.unpack("<2I", image.read(address + 4, 8))
            strings[key] = image.read(text, _TEXT_BYTES).split(b"\0")[0].decode(errors="replace")
        elif kind == _BLOCK_DEVICE and tag == _MICROPYTHON:
            _name, at, size = struct.unpack("<3I", image.read(address + 4, 12))
            file_system = (at, size)
    if file_system is None or strings.get(_PROGRAM_NAME) != "MicroPython":
        raise BoardError(f"{name} holds no MicroPython that says where its file system is: take one from micropython.org.")
    at, size = file_system
    if at % _SECTOR_BYTES or size % _SECTOR_BYTES or size < 16 * _SECTOR_BYTES or at < FLASH_START:
        raise BoardError(f"{name} declares a file system of {size} bytes at {at:#x}, which cannot be.")
    return ProgramInfo(strings.get(_PROGRAM_VERSION, "").lstrip("v"), strings.get(_BOARD, ""), at, size)


def _entries(image: Image, name: str) -> Iterator[int]:
    """Addresses of all entries that lie in flash."""
    start, end = _table(image, name)
    for at in range(start, end, 4):
        (address,) = struct.unpack("<I", image.read(at, 4))
        if address >= FLASH_START and address - address % 256 in image.pages:
            yield address


def _table(image: Image, name: str) -> tuple[int, int]:
    """Start and end of the table of entries, from the header near the start of flash."""
    words = struct.unpack(f"<{_SEARCHED_BYTES // 4}I", image.read(FLASH_START, _SEARCHED_BYTES))
    for index in range(len(words) - 4):
        if words[index] == _MARK and words[index + 4] == _MARK_END and words[index + 1] <= words[index + 2]:
            return words[index + 1], words[index + 2]
    raise BoardError(f"{name} says nothing about itself (no binary info): take a MicroPython from micropython.org.")
