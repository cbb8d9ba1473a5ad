"""UF2 files: read with every block checked, and written again with more pages in them.

A UF2 file is a row of 512-byte blocks with 256 bytes of flash each (specification: github.com/microsoft/uf2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from epi_tools.board import BoardError

BLOCK_BYTES = 512
PAGE_BYTES = 256
FLASH_START = 0x1000_0000

_HEAD = struct.Struct("<8I")  # magic, magic, flags, address, payload size, block number, number of blocks, family
_MAGIC = (0x0A32_4655, 0x9E5D_5157)
_MAGIC_END = struct.pack("<I", 0x0AB1_6F30)
_NOT_FOR_FLASH, _HAS_FAMILY = 0x0000_0001, 0x0000_2000
_ABSOLUTE = 0xE48B_FF57  # RP2350 erratum E10: files may begin with a block of this family, numbered for itself

_MPY_6_3 = 6 | 3 << 8


@dataclass(frozen=True, slots=True)
class Family:
    """A microcontroller that UF2 files are made for. `mpy` is what its MicroPython says as `sys.implementation._mpy`."""

    chip: str
    drive: str
    mpy: int


FAMILIES = {
    0xE48B_FF56: Family("RP2040", "RPI-RP2", _MPY_6_3 | 4 << 10),
    0xE48B_FF59: Family("RP2350", "RP2350", _MPY_6_3 | 7 << 10),
    0xE48B_FF5A: Family("RP2350 (RISC-V)", "RP2350", _MPY_6_3 | 11 << 10),
}
"""By family id; `drive` is the Board-ID on the BOOTSEL drive of the chip."""


@dataclass(frozen=True, slots=True)
class Image:
    """Flash content by address, 256 bytes a page. `prologue` holds blocks that stay as they are, in front."""

    family_id: int
    pages: dict[int, bytes]
    prologue: bytes = field(default=b"", repr=False)

    @property
    def family(self) -> Family:
        """The chip it is for."""
        return FAMILIES[self.family_id]

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes of flash at `address`; what no page covers reads FFH."""
        first = address - address % PAGE_BYTES
        pages = range(first, address + count, PAGE_BYTES)
        content = b"".join(self.pages.get(page, b"\xff" * PAGE_BYTES) for page in pages)
        return content[address - first : address - first + count]


def parse(content: bytes, name: str) -> Image:
    """The image in a UF2 file; BoardError where a block is damaged or missing, or it is for no chip of ours."""
    if not content or len(content) % BLOCK_BYTES:
        raise BoardError(f"{name} is no UF2 file: its length is no multiple of {BLOCK_BYTES} bytes.")
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    heads = [_checked_head(block, number, name) for number, block in enumerate(blocks)]
    skipped = sum(head[7] == _ABSOLUTE for head in heads)
    family_id = _only_family(heads[skipped:], name)
    pages = {}
    expected = heads[skipped][6]
    for number, (head, block) in enumerate(zip(heads[skipped:], blocks[skipped:], strict=True)):
        if head[5] != number:
            raise BoardError(f"{name} is incomplete: block {number} of {expected} is missing; download it again.")
        pages[head[3]] = block[32 : 32 + PAGE_BYTES]
    if len(pages) != expected:
        raise BoardError(f"{name} is incomplete: {len(pages)} of {expected} blocks are there; download it again.")
    return Image(family_id, pages, b"".join(blocks[:skipped]))


def assemble(image: Image) -> bytes:
    """The UF2 file of an image, its blocks in the order of their addresses."""
    blocks = [image.prologue]
    for number, (address, page) in enumerate(sorted(image.pages.items())):
        head = _HEAD.pack(*_MAGIC, _HAS_FAMILY, address, PAGE_BYTES, number, len(image.pages), image.family_id)
        blocks.append(head + page.ljust(BLOCK_BYTES - _HEAD.size - len(_MAGIC_END), b"\0") + _MAGIC_END)
    return b"".join(blocks)


def with_data(image: Image, address: int, data: bytes, sector_bytes: int = 4096) -> Image:
    """`image` and `data` at `address`; sectors that are all FFH are left out: a file system does not read what is free."""
    taken = {page for page in image.pages if address <= page < address + len(data)}
    if taken:
        raise BoardError(f"The UF2 file has content at {min(taken):#x}, where the file system has to go.")
    pages = dict(image.pages)
    for at in range(0, len(data), sector_bytes):
        sector = data[at : at + sector_bytes]
        if sector.strip(b"\xff"):
            pages |= {address + at + page: sector[page : page + PAGE_BYTES] for page in range(0, sector_bytes, PAGE_BYTES)}
    return Image(image.family_id, pages, image.prologue)


def _checked_head(block: bytes, number: int, name: str) -> tuple[int, ...]:
    head = _HEAD.unpack_from(block)
    if head[:2] != _MAGIC or block[-4:] != _MAGIC_END:
        raise BoardError(f"{name} is no UF2 file, or damaged: block {number} has no UF2 marks.")
    if head[2] & _NOT_FOR_FLASH or not head[2] & _HAS_FAMILY or head[4] != PAGE_BYTES or head[3] % PAGE_BYTES:
        raise BoardError(f"{name} is no UF2 file for an RP2350 or RP2040: block {number} is of another kind.")
    return head


def _only_family(heads: list[tuple[int, ...]], name: str) -> int:
    families = {head[7] for head in heads}
    if len(families) != 1 or not families <= FAMILIES.keys():
        chips = ", ".join(f"{family:#010x}" for family in sorted(families)) or "none"
        raise BoardError(f"{name} is for another chip (UF2 family {chips}): take MicroPython for the Pico 2 or the Pico.")
    return families.pop()
