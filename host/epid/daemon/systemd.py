"""Tells systemd that the daemon is ready and alive (sd_notify(3)): a datagram to the socket that the environment names."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager, or to nobody where none started us."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.period_s = int(watchdog_us) / 2e6 if watchdog_us.isdigit() and mine else 0.0

    def ready(self) -> None:
        """The daemon listens."""
        self._send(b"READY=1")

    async def keep_alive(self) -> None:
        """Say that the event loop turns, twice per watchdog period, until cancelled."""
        while self.period_s and self._address:
            self._send(b"WATCHDOG=1")
            await asyncio.sleep(self.period_s)

    def _send(self, message: bytes) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto(message, self._address)
