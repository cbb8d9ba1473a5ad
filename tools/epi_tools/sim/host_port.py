"""The side of the simulated board that the daemon sees: a serial device (a pty behind a link) or a TCP address.

Both speak the same few words: `fileno` to wait on, `is_open` when somebody holds the port, `receive`, `send`, `close`.
"""

import errno
import os
import pty
import select
import socket
import tty
from pathlib import Path
from typing import Protocol

CHUNK = 4096


class PortError(Exception):
    """A port that cannot be offered; the text is one sentence for the user."""


class HostPort(Protocol):
    """One byte stream to whoever reads the board."""

    name: str

    def filenos(self) -> list[int]:
        """Descriptors worth waiting on now."""

    def poll(self) -> bool:
        """Look whether somebody holds the port; True when that is so."""

    def receive(self) -> bytes:
        """Bytes the host sent, b"" when there are none."""

    def send(self, data: bytes) -> int:
        """How many bytes the host's side took at once; 0 when it does not read."""

    def close(self) -> None:
        """Hang up and take the name away."""


class PtyPort:
    """A pty whose slave looks like a USB serial device; `link` is a symbolic link to it.

    The slave is not held open here, so the master can tell by POLLHUP that nobody has opened it.
    """

    def __init__(self, link: Path | None) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        device = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLHUP)
        self._open = False
        self._link = link
        self._lock: socket.socket | None = None
        self.name = str(link) if link else device
        if link:
            self._make_link(link, device)

    def filenos(self) -> list[int]:
        return [self._master] if self._open else []

    def poll(self) -> bool:
        self._open = not self._poll.poll(0)
        return self._open

    def receive(self) -> bytes:
        try:
            return os.read(self._master, CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._open = False
            return b""

    def send(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._master)
        if self._link and self._link.is_symlink():
            self._link.unlink()
        if self._lock:
            self._lock.close()

    def _make_link(self, link: Path, device: str) -> None:
        try:
            self._lock = _lock_name(link)
            if link.is_symlink() and link.readlink().is_relative_to("/dev/pts"):
                link.unlink()  # left behind by a simulator that was killed: a living one would hold the lock
            link.symlink_to(device)
        except OSError as error:
            self._link = None
            self.close()
            raise PortError(_link_complaint(link, error)) from error


def _lock_name(link: Path) -> socket.socket:
    """Hold `link` against other simulators by a name in Linux' abstract socket space, which dies with its process."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(b"\0epi-sim " + os.fsencode(link.absolute())[-90:])
    except OSError:
        lock.close()
        raise
    return lock


def _link_complaint(link: Path, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port path {link} belongs to a simulator that is running: stop it or choose another --port-link."
    if error.errno == errno.EEXIST:
        return f"Port path {link} exists already: remove it or choose another --port-link."
    return f"Cannot make the port path {link}: {error.strerror}."


class TcpPort:
    """A listening TCP address with one client at a time; a later client takes over."""

    def __init__(self, host: str, port: int) -> None:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise PortError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self.name = f"tcp://{host}:{self._listener.getsockname()[1]}"

    def filenos(self) -> list[int]:
        client = [self._client.fileno()] if self._client else []
        return [self._listener.fileno(), *client]

    def poll(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return self._client is not None
        self._drop_client()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        return True

    def receive(self) -> bytes:
        if not self._client:
            return b""
        try:
            data = self._client.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop_client()
        return data

    def send(self, data: bytes) -> int:
        if not self._client:
            return 0
        try:
            return self._client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop_client()
            return 0

    def close(self) -> None:
        self._drop_client()
        self._listener.close()

    def _drop_client(self) -> None:
        if self._client:
            self._client.close()
            self._client = None
