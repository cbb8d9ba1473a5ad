"""The daemon's `/metrics` page for Prometheus: joules as counters that survive restarts, links, gaps, bounds, queues.

A counter may only rise. The board's sums start anew at each boot and after each restart of the daemon, so the page adds up
their rises, and keeps the totals in a small file beside the runs.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..errors import RunFileError, UsageError

STATE_FILE = ".epid-totals.json"
_REQUEST_BYTES = 4096
_SAVE_EVERY_S = 5
_HEAD = {
    "epid_energy_joules_total": ("counter", "Net forward energy that a meter channel has counted."),
    "epid_lost_frames_total": ("counter", "Frames of a board that never came, since the daemon started."),
    "epid_board_up": ("gauge", "1 while frames of the board come in."),
    "epid_power_watts": ("gauge", "Newest active power of a meter channel."),
    "epid_clock_bound_seconds": ("gauge", "Half width of the map from a peer's clock to the daemon's."),
    "epid_run_spans_total": ("counter", "Spans recorded in an open run."),
    "epid_run_dropped_spans_total": ("counter", "Spans of an open run that its node lost."),
    "epid_run_unwritten_batches": ("gauge", "Batches of an open run that wait to be flushed to its file."),
    "epid_disk_free_bytes": ("gauge", "What may still be written to the disk of the run files."),
    "epid_open_windows": ("gauge", "Measuring windows that clients have open."),
    "epid_refused_messages_total": ("counter", "Messages of nodes that were refused, since the daemon started."),
}


class Totals:
    """Joules per board and channel, rising across boots of the board and restarts of the daemon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._joules: dict[str, float] = {}
        self._last: dict[str, tuple[str, float]] = {}
        if path.exists():
            self._load()

    def update(self, board: str, boot: str, channel: int, energy_j: float) -> float:
        """Take a board's sum (joules since its boot `boot`) and return the total."""
        key = f"{board}:{channel}"
        last_boot, last_j = self._last.get(key, ("", energy_j))
        rise = energy_j - last_j if last_boot == boot else (energy_j if last_boot else 0.0)
        self._last[key] = (boot, energy_j)
        self._joules[key] = self._joules.get(key, 0.0) + max(0.0, rise)
        return self._joules[key]

    def save(self) -> None:
        """Keep the totals for the next start."""
        unfinished = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps({"joules": self._joules, "last": self._last}))
            unfinished.replace(self._path)
        except OSError as error:
            raise RunFileError(f"cannot keep the energy totals in {self._path}: {error.strerror}") from error

    def _load(self) -> None:
        try:
            found = json.loads(self._path.read_text())
            self._joules = {str(key): float(joules) for key, joules in found["joules"].items()}
            self._last = {str(key): (str(boot), float(joules)) for key, (boot, joules) in found["last"].items()}
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            sentence = f"the energy totals in {self._path} cannot be read ({error}); move the file away to start from zero"
            raise UsageError(sentence) from error


def page(status: dict[str, Any], totals: Totals) -> bytes:
    """Return the metrics of a daemon's status in Prometheus's text format; a missing figure has no line."""
    families: dict[str, Metric] = {}
    for name, labels, value in [*_boards(status, totals), *_peers(status), *_daemon(status)]:
        if value is not None:
            kind, meaning = _HEAD[name]
            family = families.setdefault(name, Metric(name.removesuffix("_total"), meaning, kind))
            family.add_sample(name, labels, value)
    registry = CollectorRegistry()
    registry.register(_Families(list(families.values())))
    return generate_latest(registry)


class _Families(Collector):
    """Hands the families of one request to the exposition."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


Row = tuple[str, dict[str, str], Any]


def _boards(status: dict[str, Any], totals: Totals) -> Iterator[Row]:
    for board in status["boards"]:
        labels = {"board": board["board_id"], "simulated": str(board["simulated"]).lower()}
        yield "epid_board_up", labels, int(board["link"] == "up")
        yield "epid_lost_frames_total", labels, board["lost_frames"]
        yield "epid_clock_bound_seconds", {"peer": board["board_id"]}, _seconds(board["clock_bound_us"])
        for channel in board["channels"]:
            mine = labels | {"channel": str(channel["channel"]), "name": str(channel["name"])}
            total_j = totals.update(board["board_id"], board["boot_id"], channel["channel"], channel["energy_j"])
            yield "epid_energy_joules_total", mine, total_j
            yield "epid_power_watts", mine, channel["p_w"]


def _peers(status: dict[str, Any]) -> Iterator[Row]:
    for node in status["nodes"]:
        yield "epid_clock_bound_seconds", {"peer": node["node"]}, _seconds(node["clock_bound_us"])
    for run in status["runs"]:
        labels = {"run": run["run"], "node": run["node"]}
        yield "epid_run_spans_total", labels, run["spans"]
        yield "epid_run_dropped_spans_total", labels, run["dropped"]
        yield "epid_run_unwritten_batches", labels, run["unwritten_batches"]


def _daemon(status: dict[str, Any]) -> Iterator[Row]:
    yield "epid_refused_messages_total", {}, status["refused_messages"]
    yield "epid_disk_free_bytes", {}, status["disk_free_bytes"]
    yield "epid_open_windows", {}, status["windows"]


def _seconds(bound_us: float | None) -> float | None:
    return None if bound_us is None else bound_us / 1e6


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

    async def run(self, say: Callable[[str], None]) -> None:
        """Serve until cancelled; the totals are kept every few seconds and at the end."""
        server = await self._start()
        port = server.sockets[0].getsockname()[1]
        say(f"metrics on http://{self._host}:{port}/metrics")
        try:
            while True:
                await asyncio.sleep(_SAVE_EVERY_S)
                page(self._status(), self._totals)
                self._totals.save()
        finally:
            server.close()
            page(self._status(), self._totals)
            self._totals.save()

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
