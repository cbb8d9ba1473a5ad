"""A small HTTP server for one page: `/metrics`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from ..errors import RunFileError, UsageError
from .metrics import page
from .totals import STATE_FILE, Totals

_REQUEST_BYTES = 4096
_SAVE_EVERY_S = 5


class MetricsServer:
    """Serves `/metrics` on an address (`host:port`), with the totals kept in `folder`.

    Off loopback a token is a must: whoever can read power knows when somebody works. UsageError says what is wrong.
    """

    def __init__(self, address: str, token: str, folder: Path, status: Callable[[], dict[str, Any]]) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"{address!r} is no address for metrics; write host:port, for example 127.0.0.1:9790")
        if not (host.startswith("127.") or host in ("localhost", "[::1]")) and not token:
            raise UsageError(f"metrics on {host} could be read by anyone; give a --metrics-token, or use 127.0.0.1")
        self._host, self._port, self._token = host.strip("[]"), int(port), token
        self._status = status
        self._totals = Totals(folder / STATE_FILE)
        self._fault = ""

    async def run(self, say: Callable[[str], None]) -> None:
        """Serve until cancelled; the totals are kept every few seconds and at the end."""
        server = await self._start()
        port = server.sockets[0].getsockname()[1]
        say(f"metrics on http://{self._host}:{port}/metrics")
        try:
            while True:
                await asyncio.sleep(_SAVE_EVERY_S)
                page(self._status(), self._totals)
                await asyncio.to_thread(self._save, self._totals.text(), say)
        finally:
            server.close()
            page(self._status(), self._totals)
            self._save(self._totals.text(), say)

    def _save(self, text: str, say: Callable[[str], None]) -> None:
        """Keep the totals; what is in the way of that is said once, and no reason to stop counting."""
        try:
            self._totals.store(text)
            self._fault = ""
        except RunFileError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                say(f"{error}; the next start would count on from older ones")

    async def _start(self) -> asyncio.Server:
        try:
            return await asyncio.start_server(self._answer, self._host, self._port, limit=_REQUEST_BYTES)
        except OSError as error:
            address = f"{self._host}:{self._port}"
            raise UsageError(f"cannot serve metrics on {address}: {error.strerror}; choose another port") from error

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.write(self._respond(request))
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            return  # whoever asked has gone, or never spoke HTTP
        finally:
            writer.close()

    def _respond(self, request: bytes) -> bytes:
        first, *headers = request.decode("latin-1").split("\r\n")
        if self._token and not any(_is_bearer(header, self._token) for header in headers):
            return _http("401 Unauthorized", b"a token is needed: Authorization: Bearer TOKEN\n")
        if first.split(" ")[:2] != ["GET", "/metrics"]:
            return _http("404 Not Found", b"here is only /metrics\n")
        return _http("200 OK", page(self._status(), self._totals))


def _is_bearer(header: str, token: str) -> bool:
    name, _, value = header.partition(":")
    scheme, _, secret = value.strip().partition(" ")
    right = hmac.compare_digest(secret.strip().encode(), token.encode())
    return right and name.lower() == "authorization" and scheme.lower() == "bearer"


def _http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
