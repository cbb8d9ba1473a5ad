"""The first image on an emulated RP2040: the real MicroPython, from a UF2 file that the user brings, boots our firmware."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import serial

from epi_protocol import messages
from epi_protocol.frame import FrameDecoder
from epi_tools.board import wait_for_hello
from epi_tools.flash.build import find_sources
from epi_tools.flash.first_image import combine

PATIENCE_S = 1800  # a second of the board takes most of a minute
LOADS_W = (3.5, 5.0, 11.0, 8.0)  # of emulated_pico.py


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
    board = f"{Path(__file__).with_name('emulated_pico.py')}:METER"
    command = [emulator(), "micropython", "--image", str(image), "--board-spec", board, "--pty"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        port = port_of(process)
        heard = wait_for_hello(port, "", PATIENCE_S / 2)
        assert heard and heard.version == sources.version
        assert heard.description["simulated"] is False and "RP2040" in heard.description["machine"]
        sweeps = metered(port, PATIENCE_S / 2)
    finally:
        process.kill()
        process.communicate()
    units_w = [channel["p_w"] for channel in heard.description["channels"]]
    watts = [channel["p"] * unit_w for channel, unit_w in zip(sweeps[-1][1], units_w, strict=True)]
    assert watts == pytest.approx(LOADS_W, rel=2e-3)
    assert [channel["unknown"] for channel in sweeps[-1][1]] == [0, 0, 0, 0]
    steps_us = [after[0]["board_us"] - before[0]["board_us"] for before, after in pairwise(sweeps) if after[0]["seq"] > 10]
    assert all(abs(step_us - 50_000) < 2_000 for step_us in steps_us), "twenty sweeps a second"


def metered(port, patience_s):
    """Sweeps, until every channel has counted some energy: the chip's averaging window is full long before."""
    sweeps, decoder, until_s = [], FrameDecoder(), time.monotonic() + patience_s
    with serial.Serial(port, 115200, timeout=0.5) as line:
        while not sweeps or min(channel["forward"] for channel in sweeps[-1][1]) < 8:
            assert time.monotonic() < until_s, sweeps[-1:]
            payloads = decoder.feed(line.read(4096))
            sweeps += [messages.parse_sample(payload) for payload in payloads if payload[0] == messages.SAMPLE]
    return sweeps


def port_of(process):
    """The pty that the emulator names in its log; the rest of the log is read and forgotten."""
    for line in process.stdout:
        found = re.search(r"PTY REPL listening on (\S+)", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[1]
    raise AssertionError(f"the emulator ended with code {process.wait()}")
