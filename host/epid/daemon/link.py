"""The way bytes take to a meter: a serial port or a TCP address, opened, read without blocking, written at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path

import serial
from serial.tools import list_ports

from ..errors import LinkError

BOARD_VENDOR_ID = 0x2E8A
"""USB vendor id of Raspberry Pi: what a MicroPython on an RP2040 or RP2350 shows."""

_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Address:
    """Where a meter is: a serial device's path, or host and TCP port, on which `zmq` means a ZeroMQ publisher.

    `usb_id` is what USB says about the board on a serial port: with MicroPython the board's own id.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    zmq: bool = False
    usb_id: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.path or f"tcp://{self.host}:{self.port}"


def parse_tcp(text: str, zmq: bool = False) -> Address:
    """Return the address in `host:port` or `tcp://host:port`; LinkError says what is wrong with it."""
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise LinkError(f"{text!r} is no TCP address; write host:port, for example 127.0.0.1:5791")
    return Address(host=host.strip("[]"), port=int(port), zmq=zmq)


def find_boards() -> list[Address]:
    """Return the serial ports that look like a meter board by their USB vendor id."""
    found = [port for port in list_ports.comports() if port.vid == BOARD_VENDOR_ID]
    return [Address(path=port.device, usb_id=(port.serial_number or "").lower()) for port in found]


def find_moved(address: Address, board_id: str) -> Address | None:
    """Return where the board that was on a serial port is now, or None where it has kept its name or is nowhere."""
    if not address.path or not board_id:
        return None
    here = Path(address.path).resolve()
    return next((found for found in find_boards() if found.usb_id == board_id.lower() and Path(found.path) != here), None)


class Link:
    """An open way to a meter; every failure is a LinkError with one sentence."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._serial: serial.Serial | None = None
        self._socket: socket.socket | None = None
        if address.path:
            self._serial = open_serial(address.path)
        else:
            self._socket = _open_tcp(address)

    async def readable(self, timeout_s: float) -> bool:
        """Wait for bytes or the end of the line, at most `timeout_s`; return whether there is something."""
        opened = self._serial or self._socket
        assert opened is not None
        with contextlib.suppress(TimeoutError):
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes in the same moment as the bytes.
            async with asyncio.timeout(timeout_s):
                await _wait_for(int(opened.fileno()))
            return True
        return False

    def read(self) -> bytes:
        """Return what has come since the last call; LinkError where the other end is gone."""
        try:
            data = self._serial.read(_READ_BYTES) if self._serial else self._recv()
        except (OSError, serial.SerialException) as error:
            raise LinkError(f"the meter on {self.address} is gone: {error}") from error
        if not data:
            raise LinkError(f"the meter on {self.address} is gone: the line was closed")
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Send a command; commands are far shorter than any buffer on the way."""
        try:
            if self._serial:
                self._serial.write(data)
            elif self._socket:
                self._socket.sendall(data)
        except (BlockingIOError, serial.SerialTimeoutException) as error:
            raise LinkError(f"the meter on {self.address} takes no commands: {error}") from error
        except (OSError, serial.SerialException) as error:
            raise LinkError(f"the meter on {self.address} is gone: {error}") from error

    def close(self) -> None:
        """Close; safe to call twice."""
        for opened in (self._serial, self._socket):
            if opened is not None:
                opened.close()

    def _recv(self) -> bytes:
        assert self._socket is not None
        return self._socket.recv(_READ_BYTES)


async def _wait_for(descriptor: int) -> None:
    """Wait until bytes (or the end of the line) can be read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def open_serial(path: str) -> serial.Serial:
    """Open a serial port for this program alone, at 115200 baud and without waiting; LinkError says what is in the way."""
    if not Path(path).exists():
        raise LinkError(f"there is no serial port {path}; plug the meter in, or name another port")
    try:
        return serial.Serial(path, baudrate=115200, timeout=0, write_timeout=1, exclusive=True)
    except (OSError, serial.SerialException) as error:
        reason = str(error)
        if "lock" in reason.lower() or "Resource temporarily unavailable" in reason:
            raise LinkError(f"serial port {path} is in use by another program; stop that program first") from error
        if "Permission denied" in reason:
            raise LinkError(f"no permission to open {path}; add your user to the group dialout and log in again") from error
        raise LinkError(f"cannot open {path} as a serial port: {reason}") from error


def _open_tcp(address: Address) -> socket.socket:
    try:
        connection = socket.create_connection((address.host, address.port), timeout=3)
    except OSError as error:
        raise LinkError(f"no meter answers at {address}: {error.strerror or error}") from error
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
