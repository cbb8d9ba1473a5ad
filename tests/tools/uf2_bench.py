"""A UF2 file with a program that says about itself what MicroPython says, as the linker lays it out. No code in it."""

import struct

from epi_tools.flash import uf2

FS_ADDRESS, FS_BYTES = 0x100A_0000, 1408 * 1024
RP2040, RP2350 = 0xE48B_FF56, 0xE48B_FF59


def program(version="v1.28.0", name="MicroPython", fs=(FS_ADDRESS, FS_BYTES), tag=b"MP"):
    """Flash content from its start: a vector table's worth of zeros, the header, the table, the entries, the strings."""
    at = uf2.FLASH_START + 0x200
    strings, entries = b"", []

    def text(value):
        nonlocal strings
        strings += value.encode() + b"\0"
        return at + 0x200 + len(strings) - len(value) - 1

    for key, value in ((0x02031C86, name), (0x11A9BC3A, version), (0xB63CFFBB, "pico")):
        entries.append(struct.pack("<H2s2I", 6, b"RP", key, text(value)))
    entries.append(struct.pack("<H2s4IH", 7, tag, text("MicroPython"), *fs, 0, 3))
    entries.append(struct.pack("<H2sI", 5, b"RP", 0))
    places = [at + 0x40 + sum(map(len, entries[:index])) for index in range(len(entries))]
    places.append(0x2000_0000)  # an entry that the program keeps in RAM
    header = struct.pack("<5I", 0x7188EBF2, at, at + 4 * len(places), 0, 0xE71AA390)
    content = (bytes(0x110) + header).ljust(0x200, b"\0") + struct.pack(f"<{len(places)}I", *places).ljust(0x40, b"\0")
    return (content + b"".join(entries)).ljust(0x400, b"\0") + strings


def uf2_file(content=None, family=RP2040, prologue=b""):
    """The UF2 file of a program."""
    content = program() if content is None else content
    pages = {uf2.FLASH_START + at: content[at : at + 256].ljust(256, b"\0") for at in range(0, len(content), 256)}
    return uf2.assemble(uf2.Image(family, pages, prologue))


def absolute_block():
    """The block that files for RP2350 begin with (erratum E10)."""
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10FFFF00, 256, 0, 2, 0xE48BFF57)
    return head + b"\xef" * 256 + bytes(220) + struct.pack("<I", 0x0AB16F30)
