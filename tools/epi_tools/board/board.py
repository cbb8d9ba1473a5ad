"""A board at its prompt: who it is, its files, its reset."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from epi_tools.board.errors import BoardError
from epi_tools.board.hello import Hello
from epi_tools.board.repl import Repl

_CHUNK = 2048

_IDENTIFY = """
import sys, json, machine
i = sys.implementation
print(json.dumps([machine.unique_id().hex(), i[0], list(i[1][:3]), getattr(i, '_machine', sys.platform), sys.platform,
    getattr(i, '_mpy', 0), getattr(machine, 'SIMULATED', False)]))
"""
_SHA256 = """
import hashlib
h, b = hashlib.sha256(), bytearray(512)
with open({path!r}, 'rb') as f:
    n = f.readinto(b)
    while n:
        h.update(memoryview(b)[:n])
        n = f.readinto(b)
print(h.digest().hex())
"""
_LIST = """
import os
print([(e[0], e[1] & 0x4000 != 0) for e in os.ilistdir({path!r})])
"""
_REMOVE_TREE = """
import os
def remove_tree(path):
    for entry in os.ilistdir(path):
        inside = path + '/' + entry[0]
        if entry[1] & 0x4000:
            remove_tree(inside)
        else:
            os.remove(inside)
    os.rmdir(path)
remove_tree({path!r})
"""


class Runner(Protocol):
    """What runs code on the board; `repl.Repl` is one."""

    port: str
    hello: Hello | None

    def run(self, code: str, doing: str, timeout_s: float = ...) -> str:
        """Run code and return what it printed; SnippetError where it raised."""

    def start(self, code: str) -> None:
        """Run code that does not come back."""

    def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a board is. `mpy` is `sys.implementation._mpy`: version and architecture of the .mpy files it loads."""

    board_id: str
    implementation: str
    version: tuple[int, ...]
    machine: str
    platform: str
    mpy: int
    simulated: bool

    @property
    def version_text(self) -> str:
        """Such as 1.28.0."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder of the board."""

    name: str
    is_folder: bool


class Board:
    """A board at its prompt. Paths are relative to the board's root; every failure is a BoardError."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.port, self.hello = runner.port, runner.hello
        self.identity = self._identify()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run(self, code: str, doing: str = "run a snippet", timeout_s: float = 10.0) -> str:
        """Run `code` and return what it printed; `doing` completes "The board could not …"."""
        return self._runner.run(code, doing, timeout_s)

    def read(self, path: str) -> bytes:
        """Content of a file; small ones, in one piece."""
        code = f"import binascii\nwith open({path!r}, 'rb') as f:\n print(binascii.b2a_base64(f.read()).decode())"
        return base64.b64decode(self.run(code, f"read {path}"))

    def write(self, path: str, data: bytes, progress: Callable[[int], None] | None = None) -> None:
        """Make or overwrite a file in place; `progress` gets the number of bytes of each piece written."""
        code = f"from binascii import a2b_base64\nf = open({path!r}, 'wb')\n"
        for at in range(0, max(len(data), 1), _CHUNK):
            piece = data[at : at + _CHUNK]
            code += f"f.write(a2b_base64({base64.b64encode(piece)!r}))\n"
            if at + _CHUNK >= len(data):
                code += "f.close()"
            self.run(code, f"write {path}")
            code = ""
            if progress:
                progress(len(piece))

    def replace(self, path: str, data: bytes) -> None:
        """Write a file so that a power cut leaves the old one or the new one: temporary name, sha256, rename."""
        temporary = path + ".new"
        self.write(temporary, data)
        self.check(temporary, data)
        self.rename(temporary, path)

    def check(self, path: str, data: bytes) -> None:
        """BoardError unless the file holds exactly `data`, by the sha256 that the board computes."""
        if not self.holds(path, data):
            raise BoardError(f"The board's {path} is not what was written (sha256 differs): try again, or its flash is worn.")

    def holds(self, path: str, data: bytes) -> bool:
        """Whether the file has exactly this content, by its sha256."""
        return self.sha256(path) == hashlib.sha256(data).hexdigest()

    def sha256(self, path: str) -> str:
        """Hex digest of a file, computed on the board."""
        return self.run(_SHA256.format(path=path), f"read {path}", 30.0).strip()

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        folder, _, name = path.rpartition("/")
        return name in [entry.name for entry in self.entries(folder)] if not folder or self.exists(folder) else False

    def entries(self, folder: str = "") -> list[Entry]:
        """What a folder holds; "" is the root."""
        listed = ast.literal_eval(self.run(_LIST.format(path=folder), f"list {folder or 'its files'}").strip())
        return [Entry(*entry) for entry in listed]

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.run(f"import os\nos.remove({path!r})", f"remove {path}")

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and everything in it."""
        self.run(_REMOVE_TREE.format(path=folder), f"remove {folder}", 60.0)

    def rename(self, old: str, new: str) -> None:
        """Rename a file over whatever has the new name: one step on littlefs."""
        self.run(f"import os\nos.rename({old!r}, {new!r})", f"rename {old} to {new}")

    def make_folder(self, path: str) -> None:
        """Make one folder; its parent has to exist."""
        self.run(f"import os\nos.mkdir({path!r})", f"make folder {path}")

    def free_bytes(self) -> int:
        """Room left on the board's file system."""
        said = self.run("import os\ns = os.statvfs(os.getcwd())\nprint(s[1] * s[3])", "tell its free space")
        return int(said)

    def reset(self) -> None:
        """Reset like a power-on, and hang up; `wait_for_hello` sees it come back."""
        self._runner.start("import machine\nmachine.reset()")
        self._runner.close()

    def close(self) -> None:
        """Hang up; the board stays at its prompt."""
        self._runner.close()

    def _identify(self) -> Identity:
        said = self._runner.run(_IDENTIFY, "tell who it is")
        board_id, implementation, version, machine, platform, mpy, simulated = json.loads(said)
        return Identity(board_id, implementation, tuple(version), machine, platform, mpy, simulated)


def connect(port: str) -> Board:
    """Open `port`, leave the running firmware by its REPL command, and identify the board at its prompt."""
    repl = Repl(port)
    try:
        return Board(repl)
    except BaseException:
        repl.close()
        raise
