"""The first image of a bare board: MicroPython as the user brings it, and our files in a littlefs behind it, in one UF2."""

from __future__ import annotations

from dataclasses import dataclass

from epi_tools.board import BoardError
from epi_tools.flash import uf2
from epi_tools.flash.binary_info import ProgramInfo, read_program_info
from epi_tools.flash.build import MANIFEST, Build, Sources, compile_for
from epi_tools.flash.flasher import MIN_VERSION
from epi_tools.flash.slots import POINTER, SLOTS

_SECTOR_BYTES = 4096
_DISK_VERSION = 0x0002_0000  # littlefs 2.0: every MicroPython mounts it


@dataclass(frozen=True, slots=True)
class FirstImage:
    """A UF2 file for a bare board, and what is in it."""

    content: bytes
    chip: str
    drive: str
    micropython: ProgramInfo
    firmware: str


def combine(micropython: bytes, name: str, sources: Sources) -> FirstImage:
    """Add our firmware to the UF2 file `micropython`, which is called `name` in complaints."""
    image = uf2.parse(micropython, name)
    program = read_program_info(image, name)
    _check_version(program, name)
    build = compile_for(sources, image.family.mpy)
    files = littlefs_image(board_files(build), program.fs_bytes)
    content = uf2.assemble(uf2.with_data(image, program.fs_address, files))
    return FirstImage(content, image.family.chip, image.family.drive, program, build.version)


def board_files(build: Build) -> dict[str, bytes]:
    """Everything on a board that has just been made: the first slot, proven as there is no other, and main.py."""
    slot = SLOTS[0]
    inside = {f"{slot}/{path}": code for path, code in build.files.items()}
    return inside | {f"{slot}/{MANIFEST}": build.manifest, POINTER: slot.encode(), "main.py": build.main}


def littlefs_image(files: dict[str, bytes], size_bytes: int) -> bytes:
    """A littlefs of `size_bytes` with `files`, laid out as MicroPython on rp2 does it: 4096-byte blocks."""
    try:
        from littlefs import LittleFS, LittleFSError
    except ImportError as error:
        raise BoardError("Making an image needs the package littlefs-python: pip install 'epi-tools[uf2]'.") from error
    disk = LittleFS(block_size=_SECTOR_BYTES, block_count=size_bytes // _SECTOR_BYTES, disk_version=_DISK_VERSION)
    try:
        for path, content in files.items():
            if "/" in path:
                disk.makedirs(path.rpartition("/")[0], exist_ok=True)
            with disk.open(path, "wb") as file:
                file.write(content)
    except LittleFSError as error:
        raise BoardError(f"The firmware does not fit a file system of {size_bytes // 1024} KiB: {error}.") from error
    return bytes(disk.context.buffer)


def _check_version(program: ProgramInfo, name: str) -> None:
    try:
        version = tuple(int(part) for part in program.version.split("-")[0].split(".")[:2])
    except ValueError:
        version = ()
    if version < MIN_VERSION:
        needed = ".".join(map(str, MIN_VERSION))
        raise BoardError(f"{name} holds MicroPython {program.version or 'of no version'}; the firmware needs {needed} or newer.")
