"""First flash of a bare board: make the image, put it on the BOOTSEL drive, wait for HELLO."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epi_tools.board import BoardError, Hello, wait_for_hello
from epi_tools.flash.bootsel import check_drive, choose_drive, write_image
from epi_tools.flash.build import Sources
from epi_tools.flash.first_image import FirstImage, combine
from epi_tools.flash.progress import Reporter


@dataclass(frozen=True, slots=True)
class FirstFlash:
    """What to make of which UF2 file, and where to put it: on a drive, or with `out` into a file only."""

    uf2: Path
    drive: Path | None
    out: Path | None
    sources: Sources
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Made:
    """What a first flash has done; `hello` is None where only a file was written."""

    image: FirstImage
    place: Path
    hello: Hello | None
    write_s: float
    total_s: float

    def as_dict(self) -> dict[str, object]:
        """For machines; times in seconds."""
        return {
            "chip": self.image.chip,
            "micropython": self.image.micropython.version,
            "firmware": self.image.firmware,
            "image_bytes": len(self.image.content),
            "written_to": str(self.place),
            "board_id": self.hello.board_id if self.hello else None,
            "port": self.hello.port if self.hello else None,
            "write_s": round(self.write_s, 3),
            "total_s": round(self.total_s, 3),
        }

    def sentence(self) -> str:
        """For people."""
        what = f"MicroPython {self.image.micropython.version} and firmware {self.image.firmware} for {self.image.chip}"
        size = f"{len(self.image.content) / 1024:.0f} KiB"
        if not self.hello:
            return f"{self.place}: {what}, {size}."
        who = f"Board {self.hello.board_id} on {self.hello.port}"
        return f"{who} runs {what}: {size} written in {self.write_s:.1f} s, up after {self.total_s:.1f} s."


def first_flash(job: FirstFlash, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> Made:
    """Make the combined image and put it in its place; nothing is written before it is complete and checked."""
    start_s = clock()
    try:
        micropython = job.uf2.read_bytes()
    except OSError as error:
        raise BoardError(f"Cannot read {job.uf2}: {error.strerror}.") from error
    image = combine(micropython, job.uf2.name, job.sources)
    if job.out:
        _write_file(job.out, image.content)
        return Made(image, job.out, None, clock() - start_s, clock() - start_s)
    drive = choose_drive(job.drive)
    check_drive(drive, image.drive, image.chip)
    reporter.stage(f"writing MicroPython {image.micropython.version} and {image.firmware} to {drive.path}")
    write_start_s = clock()
    reporter.begin(len(image.content))
    try:
        write_image(drive, image.content, reporter.wrote)
    finally:
        reporter.end()
    write_s = clock() - write_start_s
    reporter.stage(f"waiting for HELLO of {image.firmware}")
    return Made(image, drive.path, _wait(image, job.timeout_s), write_s, clock() - start_s)


def _wait(image: FirstImage, timeout_s: float) -> Hello:
    version = image.firmware
    hello = wait_for_hello("", "", timeout_s, lambda listener: bool(listener.hello and listener.hello.version == version))
    if not hello:
        raise BoardError(
            f"The image is written but no board says HELLO within {timeout_s:g} s: unplug it, plug it in without BOOTSEL, "
            "and run epi flash again."
        )
    return hello


def _write_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BoardError(f"Cannot write {path}: {error.strerror}.") from error
