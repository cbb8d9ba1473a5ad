"""The first image on an emulated RP2040: the real MicroPython, from a UF2 file that the user brings, boots our firmware."""

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from epi_tools.board import wait_for_hello
from epi_tools.flash.build import find_sources
from epi_tools.flash.first_image import combine

PATIENCE_S = 600  # the emulator runs at a tenth of real time


def emulator():
    """Path of rp2040py."""
    return shutil.which("rp2040py") or shutil.which("rp2040py", path=str(Path(sys.executable).parent))


@pytest.mark.timeout(PATIENCE_S + 60)
def test_the_first_image_says_hello_on_an_emulated_rp2040(tmp_path):
    given = os.environ.get("EPI_UF2")
    if not given:
        pytest.skip("no MicroPython for the RP2040: let EPI_UF2 name its UF2 file, for example RPI_PICO-…-v1.28.0.uf2")
    if not emulator():
        pytest.skip("no emulator: pip install rp2040py")
    pytest.importorskip("littlefs", reason="no littlefs-python: pip install './tools[uf2]'")
    sources = find_sources(None)
    image = tmp_path / "meter.uf2"
    image.write_bytes(combine(Path(given).read_bytes(), given, sources).content)
    command = [emulator(), "micropython", "--image", str(image), "--pty"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        heard = wait_for_hello(port_of(process), "", PATIENCE_S)
        assert heard and heard.version == sources.version
        assert heard.description["simulated"] is False and "RP2040" in heard.description["machine"]
    finally:
        process.kill()
        process.communicate()


def port_of(process):
    """The pty that the emulator names in its log; the rest of the log is read and forgotten."""
    for line in process.stdout:
        found = re.search(r"PTY REPL listening on (\S+)", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[1]
    raise AssertionError(f"the emulator ended with code {process.wait()}")
