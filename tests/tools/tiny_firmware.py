"""Firmwares of a few lines that behave well or badly, started by the real main.py."""

from pathlib import Path

MAIN = Path(__file__).parents[2] / "firmware" / "main.py"

GOOD = """
import micropython, os, select, struct, sys
import machine
from epi_protocol import messages as m
from epi_protocol.frame import CommandDecoder, encode
from . import VERSION


def start(on_healthy=None):
    boot, commands, byte = os.urandom(4), CommandDecoder(), bytearray(1)
    description = {"board_id": machine.unique_id().hex(), "firmware": VERSION, "simulated": True}
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    micropython.kbd_intr(-1)
    seq = 0
    while True:
        if seq % 20 == 0:
            sys.stdout.buffer.write(encode(m.pack_hello(boot, description)))
        sys.stdout.buffer.write(encode(struct.pack("<B4sIQIB", m.SAMPLE, boot, seq, seq * 1000, 0, 0)))
        seq += 1
        if seq == 10 and on_healthy:
            on_healthy()
        for _ in poll.ipoll(20):
            if not sys.stdin.buffer.readinto(byte):
                return
            length = commands.feed(byte[0])
            if length > 0 and commands.payload[0] == m.REPL:
                micropython.kbd_intr(3)
                return
"""
CRASHES = "def start(on_healthy=None):\n    raise ValueError('a bug')\n"
ENDS = "def start(on_healthy=None):\n    pass\n"
HANGS = "import micropython\ndef start(on_healthy=None):\n    micropython.kbd_intr(-1)\n    while True:\n        pass\n"
DOES_NOT_COMPILE = "def start(:\n"


def write_firmware(folder: Path, version: str, board: str = GOOD, patience_ms: int = 20_000) -> Path:
    """A firmware folder; returns it. `board` is its board.py; main.py lets a new one hang for `patience_ms`."""
    package = folder / "epi_firmware"
    package.mkdir(parents=True)
    (folder / "main.py").write_text(MAIN.read_text().replace("20_000", str(patience_ms)))
    (package / "__init__.py").write_text(f'VERSION = "{version}"\n')
    (package / "board.py").write_text(board)
    return folder
