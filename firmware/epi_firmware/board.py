"""The board: the only file that touches the hardware. Pins, SPI bus, identity, and how the program starts and ends."""

import os
import sys
import time

import machine
import micropython

from . import config
from .app import Meter
from .description import hello_payload
from .serial_port import SerialPort
from .spi_port import BAUDRATE_HZ, PHASE, POLARITY

SPI_ID = 0
SCK, MOSI, MISO = 18, 19, 16
CS = (17, 20, 21, 22)

SIMULATED = getattr(machine, "SIMULATED", False)

_ESCAPE_MS = 1000
_CTRL_C, _NO_INTERRUPT = 3, -1


def start():
    """Measure until the host asks for the prompt. For the first second after power-on Ctrl-C still stops the program."""
    if not SIMULATED:
        time.sleep_ms(_ESCAPE_MS)
    settings, complaints = config.load()
    meter = make_meter(settings)
    for complaint in complaints:
        meter.link.log(1, complaint)
    micropython.kbd_intr(_NO_INTERRUPT)
    try:
        meter.run()
    finally:
        micropython.kbd_intr(_CTRL_C)


def make_meter(settings):
    """The meter on this board's pins."""
    cs_pins = [machine.Pin(number, machine.Pin.OUT, value=1) for number in CS]
    spi = machine.SPI(
        SPI_ID,
        baudrate=BAUDRATE_HZ,
        polarity=POLARITY,
        phase=PHASE,
        bits=8,
        sck=machine.Pin(SCK),
        mosi=machine.Pin(MOSI),
        miso=machine.Pin(MISO),
    )
    boot_id = os.urandom(4)
    hello = hello_payload(boot_id, machine.unique_id().hex(), interpreter(), sys.implementation._machine, SIMULATED, settings)
    return Meter(spi, cs_pins, SerialPort(), time, settings, boot_id, hello)


def interpreter():
    """The interpreter's version, such as 1.28.0."""
    return ".".join([str(part) for part in sys.implementation[1][:3]])
