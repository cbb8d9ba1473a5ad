"""The two slots of a board: which of them runs, and every change of them, step by step.

Each step leaves a board that starts: main.py looks only at slots whose manifest is there, the manifest of a slot goes first
and comes last, and the pointer `active` changes by a rename. firmware/main.py is the other half of this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from epi_tools.board import Board, BoardError
from epi_tools.flash.build import MANIFEST, Build

SLOTS = ("app_a", "app_b")
POINTER = "active"
TRIES = 3
"""Starts that a new firmware has to say that it is healthy."""

_SPARE_BYTES = 16 * 1024  # what littlefs needs beside the content: metadata, the copy of main.py


@dataclass(frozen=True, slots=True)
class SlotState:
    """What a board has: the text of its pointer ("" for none), and its whole slots."""

    pointer: str
    whole: tuple[str, ...]

    @property
    def running(self) -> str:
        """The slot that main.py starts next, "" where it is the plain folder or nothing."""
        slot, _, left = self.pointer.partition(" ")
        condemned = slot if left.strip() == "0" else ""
        candidates = [name for name in (slot, *SLOTS) if name in self.whole and name != condemned]
        return candidates[0] if candidates else ""

    @property
    def idle(self) -> str:
        """The slot that may be written."""
        return SLOTS[1] if self.running == SLOTS[0] else SLOTS[0]


def read_state(board: Board) -> SlotState:
    """Look at the board's slots; changes nothing."""
    names = {entry.name for entry in board.entries() if entry.is_folder or entry.name == POINTER}
    pointer = board.read(POINTER).decode(errors="replace").strip() if POINTER in names else ""
    whole = tuple(slot for slot in SLOTS if slot in names and board.exists(f"{slot}/{MANIFEST}"))
    return SlotState(pointer, whole)


def install(board: Board, slot: str, build: Build, progress: Callable[[int], None] | None = None) -> None:
    """Write `build` into an idle slot and check each file by its sha256; without a manifest it is not whole yet."""
    clear(board, slot)
    free = board.free_bytes()
    if free < build.size + _SPARE_BYTES:
        raise BoardError(f"The board has {free // 1024} KiB free and the firmware needs {(build.size + _SPARE_BYTES) // 1024}.")
    for folder in sorted({slot} | {f"{slot}/{name.rpartition('/')[0]}" for name in build.files}):
        board.make_folder(folder)
    for name, code in build.files.items():
        board.write(f"{slot}/{name}", code, progress)
        board.check(f"{slot}/{name}", code)


def install_main(board: Board, main: bytes) -> None:
    """Replace main.py, where it is another one."""
    if not board.exists("main.py") or not board.holds("main.py", main):
        board.replace("main.py", main)


def put_on_trial(board: Board, slot: str, build: Build) -> None:
    """Let `slot` be started next, as often as it may need to show that it is healthy.

    The pointer flips while the slot has no manifest, so main.py passes it over; the rename of the manifest is the moment at
    which the new firmware takes over, and from that moment on it is on trial.
    """
    board.replace(POINTER, b"%s %d" % (slot.encode(), TRIES))
    board.replace(f"{slot}/{MANIFEST}", build.manifest)


def go_back(board: Board, bad: str, before: SlotState) -> None:
    """Take the slot `bad` out of service, and point to what ran before."""
    if board.exists(f"{bad}/{MANIFEST}"):
        board.remove(f"{bad}/{MANIFEST}")
    if before.running:
        board.replace(POINTER, before.running.encode())
    elif board.exists(POINTER):
        board.remove(POINTER)


def clear(board: Board, slot: str) -> None:
    """Empty a slot, its manifest first: without it main.py does not look at the rest."""
    if board.exists(f"{slot}/{MANIFEST}"):
        board.remove(f"{slot}/{MANIFEST}")
    if board.exists(slot):
        board.remove_tree(slot)
