"""The first image of a bare board: UF2 blocks, the place of the file system, what MicroPython finds in it, the drive."""

import errno
import json
import struct
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tiny_firmware import write_firmware
from uf2_bench import FS_ADDRESS, FS_BYTES, RP2040, RP2350, absolute_block, program, uf2_file
from vm_board import interpreter

from epi_tools.board import BoardError
from epi_tools.cli import epi
from epi_tools.flash import uf2
from epi_tools.flash.binary_info import ProgramInfo, read_program_info
from epi_tools.flash.bootsel import Drive, check_drive, choose_drive, write_image
from epi_tools.flash.build import find_sources
from epi_tools.flash.first_image import combine

FIRST_BOOT = Path(__file__).parent / "on_board" / "first_boot.py"
SAYS = "from . import VERSION\n\n\ndef start(on_healthy=None):\n    print('started', VERSION)\n"


@pytest.fixture
def sources(tmp_path):
    return find_sources(write_firmware(tmp_path / "firmware", "1.0.0", SAYS))


@given(st.dictionaries(st.integers(0, 4000), st.binary(min_size=256, max_size=256), min_size=1, max_size=20))
def test_an_image_survives_its_file(pages):
    image = uf2.Image(RP2350, {uf2.FLASH_START + 256 * page: content for page, content in pages.items()}, absolute_block())
    content = uf2.assemble(image)
    assert len(content) == 512 * (len(pages) + 1) and uf2.parse(content, "x.uf2") == image


@given(st.binary(max_size=300), st.integers(0, 5000))
def test_rubbish_is_refused_in_one_sentence(rubbish, at):
    content = bytearray(uf2_file())
    content[at : at + len(rubbish)] = rubbish
    try:
        read_program_info(uf2.parse(bytes(content), "x.uf2"), "x.uf2")
    except BoardError as error:
        assert str(error).startswith("x.uf2 ") and str(error).endswith(".") and "\n" not in str(error)


def refusal(content):
    with pytest.raises(BoardError) as caught:
        read_program_info(uf2.parse(content, "x.uf2"), "x.uf2")
    return str(caught.value)


def test_files_that_are_not_for_us():
    good = uf2_file()
    assert "its length is no multiple of 512" in refusal(good[:-1])
    assert "block 0 has no UF2 marks" in refusal(bytes(512))
    assert "block 2 of 5 is missing" in refusal(good[:1024] + good[1536:])
    assert "4 of 5 blocks are there" in refusal(good[:-512])
    assert "for another chip (UF2 family 0xada52840)" in refusal(
        good.replace(struct.pack("<I", RP2040), struct.pack("<I", 0xADA52840))
    )
    assert "says nothing about itself" in refusal(uf2_file(bytes(1024)))
    assert "holds no MicroPython" in refusal(uf2_file(program(name="blink")))
    assert "holds no MicroPython" in refusal(uf2_file(program(tag=b"XX")))
    assert "which cannot be" in refusal(uf2_file(program(fs=(FS_ADDRESS + 1, FS_BYTES))))


def test_what_a_micropython_says_about_itself():
    expected = ProgramInfo("1.28.0", "pico", FS_ADDRESS, FS_BYTES)
    assert read_program_info(uf2.parse(uf2_file(), "x.uf2"), "x.uf2") == expected


@pytest.mark.parametrize(("family", "chip", "drive"), [(RP2040, "RP2040", "RPI-RP2"), (RP2350, "RP2350", "RP2350")])
def test_micropython_boots_our_firmware_from_the_image(tmp_path, sources, family, chip, drive):
    pytest.importorskip("littlefs", reason="no littlefs-python: pip install './tools[uf2]'")
    prologue = absolute_block() if family == RP2350 else b""
    made = combine(uf2_file(family=family, prologue=prologue), "x.uf2", sources)
    assert (made.chip, made.drive, made.firmware) == (chip, drive, sources.version)
    image = uf2.parse(made.content, "made.uf2")
    assert image.prologue == prologue
    assert image.read(uf2.FLASH_START, len(program())) == program()
    disk = tmp_path / "disk.img"
    disk.write_bytes(image.read(FS_ADDRESS, FS_BYTES))
    command = [interpreter(), "-X", "heapsize=16m", str(FIRST_BOOT), str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["['active', 'app_a', 'main.py']", f"started {sources.version}"], done.stderr


def test_images_that_cannot_be_made(sources):
    pytest.importorskip("littlefs", reason="no littlefs-python: pip install './tools[uf2]'")
    with pytest.raises(BoardError, match=r"holds MicroPython 1\.21\.0; the firmware needs 1\.22 or newer"):
        combine(uf2_file(program(version="v1.21.0")), "x.uf2", sources)
    with pytest.raises(BoardError, match="of no version"):
        combine(uf2_file(program(version="")), "x.uf2", sources)
    with pytest.raises(BoardError, match="does not fit a file system of 64 KiB"):
        big = dict(sources.modules) | {"epi_firmware/big.py": b"T = %r\n" % (b"x" * 70_000)}
        combine(uf2_file(program(fs=(FS_ADDRESS, 65536))), "x.uf2", type(sources)(sources.version, big, sources.main))
    with pytest.raises(BoardError, match="has content at 0x10000000"):
        combine(uf2_file(program(fs=(uf2.FLASH_START, FS_BYTES))), "x.uf2", sources)


def drive_at(folder, board_id):
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v1.0\r\nModel: Raspberry Pi\r\nBoard-ID: {board_id}\r\n")
    return folder


def test_the_drive_is_found_checked_and_written(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n")
    with pytest.raises(BoardError, match="No board in BOOTSEL mode is mounted: hold BOOTSEL"):
        choose_drive(None, mounts)
    path = drive_at(tmp_path / "RP 2", "RP2350")
    mounts.write_text(mounts.read_text() + f"/dev/sdb1 {str(path).replace(' ', chr(92) + '040')} vfat rw 0 0\n")
    drive = choose_drive(None, mounts)
    assert drive == choose_drive(path) == Drive(path, "RP2350")
    check_drive(drive, "RP2350", "RP2350")
    with pytest.raises(BoardError, match=r"The image is for RP2040 and .* is a board called RP2350"):
        check_drive(drive, "RPI-RP2", "RP2040")
    with pytest.raises(BoardError, match="is no BOOTSEL drive"):
        choose_drive(tmp_path)
    second = drive_at(tmp_path / "second", "RPI-RP2")
    mounts.write_text(mounts.read_text() + f"/dev/sdc1 {second} vfat rw 0 0\n")
    with pytest.raises(BoardError, match="Several BOOTSEL drives are mounted"):
        choose_drive(None, mounts)
    written = []
    write_image(drive, bytes(200_000), written.append)
    assert sum(written) == 200_000 and (path / "epi-meter.uf2").read_bytes() == bytes(200_000)


def test_a_drive_that_vanishes_with_the_last_block_is_a_success_and_before_it_a_failure(tmp_path, monkeypatch):
    drive = Drive(drive_at(tmp_path / "drive", "RP2350"), "RP2350")

    def vanish(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", vanish)
    write_image(drive, bytes(1000), lambda _count: None)

    def pull_the_plug(count):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(BoardError, match="stopped after 65536 of 100000 bytes"):
        write_image(drive, bytes(100_000), pull_the_plug)


def test_the_command_makes_the_image_and_writes_nothing_half(tmp_path):
    pytest.importorskip("littlefs", reason="no littlefs-python: pip install './tools[uf2]'")
    given_file, out = tmp_path / "micropython.uf2", tmp_path / "meter.uf2"
    firmware = write_firmware(tmp_path / "command-firmware", "1.0.0")
    base = ["flash", "--firmware", str(firmware), "--uf2", str(given_file)]
    missing = CliRunner().invoke(epi, [*base, "--out", str(out)])
    assert missing.exit_code == 2 and "Cannot read" in missing.stderr
    given_file.write_bytes(uf2_file())
    result = CliRunner().invoke(epi, [*base, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["chip"] == "RP2040" and said["micropython"] == "1.28.0" and said["image_bytes"] == out.stat().st_size
    given_file.write_bytes(uf2_file()[:-512])
    out.unlink()
    refused = CliRunner().invoke(epi, [*base, "--out", str(out)])
    assert refused.exit_code == 2 and "incomplete" in refused.stderr and not list(tmp_path.glob("meter.uf2*"))
    nowhere = tmp_path / "no" / "folder.uf2"
    given_file.write_bytes(uf2_file())
    refused = CliRunner().invoke(epi, [*base, "--out", str(nowhere)])
    assert refused.exit_code == 2 and "Cannot write" in refused.stderr
    silent = drive_at(tmp_path / "drive", "RPI-RP2")
    written = CliRunner().invoke(epi, [*base, "--drive", str(silent), "--timeout", "1"])
    assert written.exit_code == 2 and "no board says HELLO within 1 s" in written.stderr
    assert uf2.parse((silent / "epi-meter.uf2").read_bytes(), "x").family.chip == "RP2040"
