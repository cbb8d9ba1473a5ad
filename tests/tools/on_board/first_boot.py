# ruff: noqa: PTH123, PTH208
"""Runs in a MicroPython: mounts the file system image in a file and runs its main.py, as a board does at power-on."""

import os
import sys


class Flash:
    """The image, as a block device of 4096-byte blocks."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._content = bytearray(file.read())

    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self._content[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        self._content[at : at + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        return {4: len(self._content) // 4096, 5: 4096}.get(operation, 0)


os.mount(os.VfsLfs2(Flash(sys.argv[1]), progsize=256, readsize=256), "/flash")
os.chdir("/flash")
print(sorted(os.listdir()))
with open("main.py") as source:
    exec(source.read(), {"__name__": "main"})
