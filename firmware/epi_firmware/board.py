"""The board: the only file that touches the hardware. Pins, SPI bus, radio, identity, and how the program starts and ends."""

import os
import select
import sys
import time

import machine
import micropython

try:
    import socket

    import network
except ImportError:  # a board without a radio
    network = None

from . import config
from .app import Meter
from .description import hello_payload
from .publisher import Publisher
from .serial_port import SerialPort
from .spi_port import BAUDRATE_HZ, PHASE, POLARITY
from .wifi import LOOK_EVERY_MS, Wifi

SPI_ID = 0
SCK, MOSI, MISO = 18, 19, 16
CS = (17, 20, 21, 22)

SIMULATED = getattr(machine, "SIMULATED", False)

_ESCAPE_MS = 1000
_CTRL_C, _NO_INTERRUPT = 3, -1
_NO_POWER_SAVING = 0xA11140  # CYW43: else it sleeps between beacons, and a PING waits for up to 200 ms


def start(on_healthy=None):
    """Measure until the host asks for the prompt. For the first second after power-on Ctrl-C still stops the program.

    `on_healthy` is called once, when the first sweeps are done: main.py then stops watching a firmware that is new.
    """
    if not SIMULATED:
        time.sleep_ms(_ESCAPE_MS)
    settings, complaints = config.load()
    wifi = settings["wifi"]
    if wifi and not network:
        complaints.append("config.json: wifi, but this board has no radio; frames stay on USB")
        wifi = None
    radio = open_radio() if wifi else None
    publisher = open_publisher(wifi["port"]) if wifi else None
    meter = make_meter(settings, publisher)
    for complaint in complaints:
        meter.log(1, complaint)
    micropython.kbd_intr(_NO_INTERRUPT)
    try:
        if wifi:
            publisher.log = meter.log
            stay_joined(radio, wifi, meter.log)
        meter.run(on_healthy)
    finally:
        micropython.kbd_intr(_CTRL_C)


def make_meter(settings, publisher=None):
    """The meter on this board's pins; its samples go to `publisher`, or to the serial line."""
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
    if publisher:
        return Meter(spi, cs_pins, publisher, time, settings, boot_id, hello, SerialPort())
    return Meter(spi, cs_pins, SerialPort(), time, settings, boot_id, hello)


def open_publisher(port):
    """A publisher on all of the board's networks, of which there may be none yet."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
    listener.listen(2)
    listener.setblocking(False)
    return Publisher(listener, select.poll(), time)


def open_radio():
    """The radio as a station, awake at all times."""
    radio = network.WLAN(network.STA_IF)
    radio.active(True)
    radio.config(pm=_NO_POWER_SAVING)
    return radio


def stay_joined(radio, wifi, log):
    """Join the Wi-Fi, and join it again when it is lost; returns at once."""
    keeper = Wifi(radio, wifi["ssid"], wifi["password"], "tcp://%%s:%d" % wifi["port"], log)
    keeper.look()
    machine.Timer(-1, mode=machine.Timer.PERIODIC, period=LOOK_EVERY_MS, callback=keeper.look)


def interpreter():
    """The interpreter's version, such as 1.28.0."""
    return ".".join([str(part) for part in sys.implementation[1][:3]])
