"""Virtual time: the firmware's own SPI port, in CPython, on chip models."""

from pathlib import Path

import pytest

from epi_tools.chip import PI_SENSORS, Circuit, Load
from epi_tools.chip import registers as reg
from epi_tools.plant import Constant
from epi_tools.sim.virtual import TICKS_PERIOD, VirtualBoard, VirtualClock


@pytest.fixture
def board():
    board = VirtualBoard([Constant(5.0), Constant(7.0)], Circuit(PI_SENSORS, Load(0, 1)))
    board.clock.sleep_ms(20)
    return board


def test_bytes_and_sleeps_take_their_time(board):
    spi, start_ns = board.spi(baudrate=125_000), board.clock.now_ns
    spi.write(b"123")
    assert board.clock.now_ns - start_ns == 192_000
    board.clock.sleep_us(8)
    assert board.clock.now_ns - start_ns == 200_000


def test_ticks_wrap_as_on_the_board():
    clock = VirtualClock((TICKS_PERIOD - 5) * 1000)
    before = clock.ticks_us()
    clock.sleep_us(10)
    assert clock.ticks_us() == 5
    assert clock.ticks_diff(clock.ticks_us(), before) == 10
    assert clock.ticks_add(before, 10) == 5


def test_pins_select_chips_and_two_at_once_are_a_wired_and(board):
    spi, (first, second) = board.spi(), board.cs_pins()
    answer = bytearray(3)
    for pin, gain in ((first, 0x0F0F), (second, 0x00FF)):
        pin.off()
        spi.write(bytes((reg.L_GAIN, gain >> 8, gain & 0xFF)))
        pin.on()
    first.value(0)
    second.value(0)
    spi.write_readinto(bytes((0x80 | reg.L_GAIN, 0, 0)), answer)
    assert answer == b"\xff\x00\x0f"
    assert (first.value(), second.value()) == (0, 0)


@pytest.mark.parametrize("settings", [(125_000, 0, 0), (125_000, 1, 0), (200_000, 1, 1), (100, 1, 1)])
def test_a_bus_outside_the_datasheet_reaches_no_chip(board, settings):
    spi, pin = board.spi(*settings), board.cs_pins()[0]
    pin.off()
    spi.write(bytes((0x80 | reg.CAL_START,)))
    assert spi.read(2) == b"\xff\xff"


def test_the_firmware_s_own_port_reads_a_day_of_energy(board, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "firmware"))
    from epi_firmware.blocks import checksum, measurement_block, metering_block
    from epi_firmware.config import defaults
    from epi_firmware.spi_port import SpiPort

    channel = defaults()["channels"][1]
    port = SpiPort(board.spi(), board.cs_pins()[1], board.clock.sleep_us)
    for start, block in ((reg.CAL_START, metering_block(channel)), (reg.ADJ_START, measurement_block(channel))):
        port.write(start, reg.SETTING)
        for offset, word in enumerate(block, 1):
            port.write(start + offset, word)
        port.write(start + len(block) + 1, checksum(block))
        port.write(start, reg.CHECKED)
    start_ns, ticks = board.clock.now_ns, 0
    for _ in range(24 * 60):
        board.clock.sleep_ms(60_000)
        ticks += port.read(reg.AP_ENERGY)
    seconds = (board.clock.now_ns - start_ns) * 1e-9
    assert ticks * 0.36 == pytest.approx(7 * seconds, rel=2e-4)  # PLconst is a rounded number
    assert port.read(reg.SYS_STATUS) == 0
