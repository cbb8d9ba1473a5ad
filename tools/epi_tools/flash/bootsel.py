"""The drive that a board shows when BOOTSEL is held: found, checked against the image, and written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epi_tools.board import BoardError

INFO = "INFO_UF2.TXT"
HOW_TO = "hold BOOTSEL while you plug the board in, and mount the drive that appears"
_BOARD_ID = re.compile(r"^Board-ID:\s*(\S+)", re.MULTILINE)
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO)
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Drive:
    """A mounted BOOTSEL drive; `board_id` is RPI-RP2 or RP2350."""

    path: Path
    board_id: str


def choose_drive(asked: Path | None, mounts: Path = Path("/proc/mounts"), volumes: Path = Path("/Volumes")) -> Drive:
    """The drive the user asked for, else the only one that is mounted; BoardError when there is none or more than one."""
    if asked:
        drive = _drive_at(asked)
        if not drive:
            raise BoardError(f"{asked} is no BOOTSEL drive (no {INFO} in it): {HOW_TO}.")
        return drive
    found = [drive for path in _mounted(mounts, volumes) if (drive := _drive_at(path))]
    if not found:
        raise BoardError(f"No board in BOOTSEL mode is mounted: {HOW_TO}, or name it with --drive.")
    if len(found) > 1:
        raise BoardError(
            f"Several BOOTSEL drives are mounted ({', '.join(str(one.path) for one in found)}): choose with --drive."
        )
    return found[0]


def check_drive(drive: Drive, expected: str, chip: str) -> None:
    """BoardError where the image is for another chip than the one behind the drive."""
    if drive.board_id != expected:
        raise BoardError(f"The image is for {chip} and {drive.path} is a board called {drive.board_id}: take its own UF2 file.")


def write_image(drive: Drive, content: bytes, progress: Callable[[int], None]) -> None:
    """Copy the image. The board reboots with the last block, so the drive may vanish while it is being closed."""
    written = 0
    try:
        with (drive.path / "epi-meter.uf2").open("wb", buffering=0) as file:
            while written < len(content):
                count = file.write(content[written : written + _PIECE])
                written += count
                progress(count)
            os.fsync(file.fileno())
    except OSError as error:
        if written < len(content) or error.errno not in _GONE:
            raise BoardError(
                f"Writing to {drive.path} stopped after {written} of {len(content)} bytes: {error.strerror}."
            ) from error


def _drive_at(path: Path) -> Drive | None:
    try:
        found = _BOARD_ID.search((path / INFO).read_text(errors="replace"))
    except OSError:
        return None
    return Drive(path, found[1]) if found else None


def _mounted(mounts: Path, volumes: Path) -> list[Path]:
    """Where drives are mounted: Linux says it in a file, macOS in a folder."""
    if mounts.exists():
        points = [line.split()[1] for line in mounts.read_text().splitlines() if len(line.split()) > 1]
        return [Path(point.replace("\\040", " ")) for point in points]
    return sorted(volumes.iterdir()) if volumes.is_dir() else []
