# ruff: noqa: PTH102, PTH123, SIM105, UP031
"""Runs in a MicroPython: a flash played back on littlefs, with the power cut at every operation on the flash chip.

Arguments: a JSON file with `files` (what the board holds before), `codes` (what the tool runs, in order), `main` (main.py),
`old` and `new` (the versions). Prints one line of JSON. After each cut the board boots: main.py decides, every file of the
firmware that it starts is held against the manifest, and the version has to be the old or the new one.
"""

import binascii
import hashlib
import json
import os
import sys

BLOCK, BLOCKS = 4096, 96
ROOT = "/flash"


class PowerCut(Exception):
    pass


class Reset(Exception):
    pass


class Flash:
    """A flash chip that loses power at operation number `cut`, in the middle of it where `torn`."""

    def __init__(self, content, cut=0, torn=False):
        self.content = content
        self.operations = 0
        self.cut, self.torn = cut, torn
        self.dead = False

    def readblocks(self, block, buffer, offset=0):
        at = block * BLOCK + offset
        buffer[:] = self.content[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        return self._change(block * BLOCK + offset, buffer)

    def ioctl(self, operation, argument):
        if operation == 4:
            return BLOCKS
        if operation == 5:
            return BLOCK
        if operation == 6:
            return self._change(argument * BLOCK, b"\xff" * BLOCK)
        return 0

    def _change(self, at, data):
        self.operations += 1
        if self.dead:
            return -5
        if self.operations == self.cut:
            self.dead = True
            if self.torn:
                half = len(data) // 2
                self.content[at : at + half] = data[:half]
            return -5
        self.content[at : at + len(data)] = data
        return 0


def mount(flash):
    os.mount(os.VfsLfs2(flash, progsize=256, readsize=256), ROOT)
    os.chdir(ROOT)


def unmount():
    os.chdir("/")
    os.umount(ROOT)


def fresh(files):
    """A new chip with these files."""
    flash = Flash(bytearray(BLOCK * BLOCKS))
    os.VfsLfs2.mkfs(flash, progsize=256, readsize=256)
    mount(flash)
    for path, text in files.items():
        folder = ""
        for part in path.split("/")[:-1]:
            folder += part
            try:
                os.mkdir(folder)
            except OSError:
                pass  # it exists
            folder += "/"
        with open(path, "wb") as file:
            file.write(binascii.a2b_base64(text))
    unmount()
    return flash.content


class Machine:
    """`machine`, as far as main.py and the tool use it."""

    SIMULATED = True

    def unique_id(self):
        return b"1234"

    def reset(self):
        raise Reset


class Board:
    """What runs after a power-on, and whether it says that it is healthy."""

    def __init__(self, main):
        self.main = main
        self.version = None

    def boot(self, flash, healthy):
        """Power on: returns the version that main.py has started, None where none; PowerCut where the power failed again."""
        self.version = None
        self.healthy = healthy
        path = sys.path[:]
        mount(flash)
        try:
            exec(self.main, {"__name__": "main"})
        except Reset:
            pass
        except OSError:
            if not flash.dead:
                raise
        finally:
            unmount()
            sys.path[:] = path
            for name in list(sys.modules):
                if name.startswith("epi_"):
                    del sys.modules[name]
        if flash.dead:
            raise PowerCut
        return self.version

    def start(self, version, on_healthy):
        """Called by the firmware: here it runs."""
        check(sys.path[0])
        self.version, self.on_trial = version, on_healthy is not None
        if on_healthy and self.healthy:
            on_healthy()
        elif on_healthy:
            raise ValueError("a firmware that fails")


def check(slot):
    """Every file of the slot is what its manifest says."""
    if slot not in ("app_a", "app_b"):
        return
    with open(slot + "/manifest.json") as file:
        digests = json.load(file)["files"]
    for name, digest in digests.items():
        with open(slot + "/" + name, "rb") as file:
            assert hashlib.sha256(file.read()).digest().hex() == digest, name


def play(codes, flash):
    """Run what the tool runs; False where the power failed on the way."""
    mount(flash)
    names = {"print": lambda *_: None}
    try:
        for code in codes:
            exec(code, names)
            if flash.dead:
                return False
        return True
    except OSError:
        if not flash.dead:
            raise
        return False
    finally:
        unmount()


def cut_while(action, content, wanted, board, figures, trial):
    """Cut the power at every operation of `action(flash)`, and see what boots after it: where it is the new one, on trial?"""
    for torn in (False, True):
        cut = 0
        while True:
            cut += 1
            flash = Flash(bytearray(content), cut, torn)
            try:
                action(flash)
            except PowerCut:
                pass  # that is what this is about
            if not flash.dead:
                break
            figures["points"] += 1
            version = board.boot(Flash(flash.content), True)
            assert version in wanted, (cut, torn, version)
            assert version == wanted[0] or trial is None or board.on_trial == trial, (cut, torn)
            figures["old" if version == wanted[0] else "new"] += 1
            assert board.boot(Flash(flash.content), True) in wanted
    return flash.content


def main(plan):
    sys.path.insert(0, "")  # as on a board
    board = Board(plan["main"])
    sys.modules["machine"] = Machine()
    sys.modules["bench"] = board
    old, new = plan["old"], plan["new"]
    figures = {}

    def part(name, action, content, wanted, trial=None):
        figures[name] = {"points": 0, "old": 0, "new": 0}
        return cut_while(action, content, wanted, board, figures[name], trial)

    before = fresh(plan["files"])
    assert board.boot(Flash(bytearray(before)), True) == old
    flashed = part("write", lambda flash: play(plan["codes"], flash), before, (old, new), True)
    assert board.boot(Flash(bytearray(flashed)), True) == new
    part("first boot", lambda flash: board.boot(flash, True), flashed, (old, new))
    failing = flashed
    for attempt in range(3):
        failing = part("failing boot %d" % (attempt + 1), lambda flash: board.boot(flash, False), failing, (old, new))
    back = part("boot that falls back", lambda flash: board.boot(flash, False), failing, (old,))
    assert board.boot(Flash(bytearray(back)), True) == old
    print(json.dumps(figures))


with open(sys.argv[1]) as source:
    main(json.load(source))
