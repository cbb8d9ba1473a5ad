"""Serial ports: which of them is a board, and opening one for us alone. A serial line may be tunnelled through TCP."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import serial
from serial.tools import list_ports

from epi_tools.board.errors import BoardError

RASPBERRY_PI = 0x2E8A
"""USB vendor id that a MicroPython on RP2040 and RP2350 shows."""

_TCP = "tcp://"
_SIGNATURE_BYTES, _SIGNATURE_FIRST, _SIGNATURE_LAST = 10, 0xFF, 0x7F
"""What a ZeroMQ socket says first (RFC 23); the bytes between are padding."""

_CONNECT_S, _GREETING_S = 5.0, 0.5


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port with a MicroPython behind it; `board_id` is lower-case hex, "" where USB does not tell."""

    path: str
    board_id: str


def find_ports() -> list[Port]:
    """Ports of all RP2040 and RP2350 boards that are plugged in."""
    found = [port for port in list_ports.comports() if port.vid == RASPBERRY_PI]
    return [Port(port.device, (port.serial_number or "").lower()) for port in found]


def choose_port(asked: str | None) -> str:
    """The port the user asked for, else that of the only board; BoardError when there is none or more than one."""
    if asked:
        return asked
    found = [port.path for port in find_ports()]
    if not found:
        raise BoardError("No board is plugged in: connect its USB cable, or name its serial port with --port.")
    if len(found) > 1:
        raise BoardError(f"Several boards are plugged in ({', '.join(found)}): choose one with --port.")
    return found[0]


def url_of(path: str) -> str:
    """What pyserial calls the port: a serial line behind a TCP address, as `epi sim --tcp` or ser2net offers, is a socket."""
    return f"socket://{path.removeprefix(_TCP)}" if path.startswith(_TCP) else path


def check_port(path: str) -> None:
    """BoardError where `path` cannot be a port: a clear word before pyserial's."""
    if path.startswith(_TCP):
        _check_address(path.removeprefix(_TCP))
        return
    if path.upper().startswith("COM"):
        return
    if not Path(path).exists():
        raise BoardError(f"There is no serial port {path}: plug the board in, or name another port with --port.")
    if not Path(path).is_char_device():
        raise BoardError(f"{path} is not a serial port: name the board's port with --port.")


def _check_address(address: str) -> None:
    """BoardError where nobody listens, or a board's network port does: it sends frames, and takes no orders."""
    host, _, number = address.rpartition(":")
    if not host or not number.isdecimal() or not 0 < int(number) < 65536:
        raise BoardError(f"tcp://{address} is not tcp://HOST:PORT, like tcp://192.168.1.20:5000.")
    try:
        with socket.create_connection((host.strip("[]"), int(number)), _CONNECT_S) as line:
            line.settimeout(_GREETING_S)
            said = line.recv(_SIGNATURE_BYTES)
    except TimeoutError:
        return  # a serial line may be silent
    except OSError as error:
        raise BoardError(
            f"Nobody answers at tcp://{address} ({error.strerror or error}): mend the address, or start what listens there."
        ) from error
    if len(said) == _SIGNATURE_BYTES and (said[0], said[-1]) == (_SIGNATURE_FIRST, _SIGNATURE_LAST):
        raise BoardError(
            f"tcp://{address} is a board's network port, which sends frames and takes no orders: use the board's USB cable, "
            "where its prompt is."
        )


def open_trouble(path: str, error: BaseException) -> BoardError:
    """What the failure to open `path` means."""
    reason = str(error)
    if "lock" in reason.lower() or "Resource temporarily unavailable" in reason or "busy" in reason.lower():
        return BoardError(f"Port {path} is in use by another program: stop it (epid serve?) and try again.")
    if "Permission denied" in reason:
        return BoardError(f"No permission to open {path}: add your user to the group dialout and log in again.")
    return BoardError(f"Cannot open {path} as a serial port: {reason}.")


def open_port(path: str, timeout_s: float) -> serial.Serial:
    """Open `path` exclusively; reads give up after `timeout_s`."""
    check_port(path)
    try:
        return serial.serial_for_url(url_of(path), 115200, timeout=timeout_s, write_timeout=5, exclusive=True)
    except (OSError, serial.SerialException) as error:
        raise open_trouble(path, error) from error
