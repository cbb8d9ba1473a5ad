"""One meter board as the daemon sees it: bytes in, events out, commands due. No I/O in here."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from epi_protocol import frame, messages
from epi_protocol.errors import ProtocolError, VersionError

from ..clocks import ClockEstimator, Exchange
from ..errors import LinkError

PING_PERIOD_NS = 983_000_000
"""Time between pings: beside one second, so that pings walk through every phase of a board's loop (Klipper's habit)."""

BURST_PINGS = 8
BURST_PERIOD_NS = 70_000_000
PING_LOST_NS = 2_000_000_000
LIVE_EXCHANGES = 62


@dataclass(frozen=True, slots=True)
class Hello:
    """The board described itself; `rebooted` where its boot id is new."""

    payload: bytes
    rebooted: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One sweep, as received (`payload`) and as parsed; `lost` frames are missing just before it."""

    payload: bytes
    head: dict[str, Any]
    channels: list[dict[str, Any]]
    lost: int


@dataclass(frozen=True, slots=True)
class ClockExchange:
    """One two-way time exchange: host times in ns, board times in us since boot."""

    boot_id: bytes
    nonce: bytes
    t1_ns: int
    t2_us: int
    t3_us: int
    t4_ns: int


@dataclass(frozen=True, slots=True)
class Log:
    """A sentence for a person: from the board, or about what came from it."""

    level: int
    text: str


BoardEvent = Hello | Sample | ClockExchange | Log


@dataclass
class BoardSession:
    """State of one board on one link, from the first byte on.

    Until HELLO nothing is sent (a board whose program has not started takes bytes for keystrokes). `description` is the
    newest HELLO's, `clock` the exchanges of the current boot.
    """

    new_nonce: Callable[[], bytes] = field(default=lambda: secrets.token_bytes(4))
    description: dict[str, Any] = field(default_factory=dict)
    boot_id: bytes = b""
    samples: int = 0
    lost: int = 0
    refused: int = 0
    boots: int = 0
    last_sample: Sample | None = None
    clock: ClockEstimator = field(default_factory=ClockEstimator)

    def __post_init__(self) -> None:
        self.decoder = frame.FrameDecoder()
        self._pending: dict[bytes, int] = {}
        self._sent = 0
        self._next_ping_ns = 0
        self._last_seq = -1

    @property
    def board_id(self) -> str:
        """The board's own id, or an empty string before HELLO."""
        return str(self.description.get("board_id", ""))

    @property
    def known(self) -> bool:
        """Whether the board has said HELLO."""
        return bool(self.boot_id)

    def receive(self, data: bytes, host_ns: int) -> list[BoardEvent]:
        """Take bytes that arrived at `host_ns`; return what they mean, in order.

        Raises LinkError where the board speaks another protocol: nothing it says can be trusted then.
        """
        events: list[BoardEvent] = []
        for payload in self.decoder.feed(data):
            try:
                events.extend(self._message(payload, host_ns))
            except VersionError as error:
                raise LinkError(str(error)) from error
            except ProtocolError as error:
                self.refused += 1
                events.append(Log(1, f"refused a frame of the board: {error}"))
        texts = [_readable(segment) for segment in self.decoder.take_garbage().split(b"\0")]
        return events + [Log(1, f"between the frames: {text}") for text in texts if text]

    def command_due(self, host_ns: int) -> bytes | None:
        """Return the PING to write now, or None. Call just before writing: `host_ns` becomes the exchange's t1."""
        if not self.known or host_ns < self._next_ping_ns:
            return None
        self._pending = {nonce: t1 for nonce, t1 in self._pending.items() if host_ns - t1 < PING_LOST_NS}
        nonce = self.new_nonce()
        self._pending[nonce] = host_ns
        self._sent += 1
        self._next_ping_ns = host_ns + (BURST_PERIOD_NS if self._sent < BURST_PINGS else PING_PERIOD_NS)
        return bytes(frame.encode_command(messages.pack_ping(nonce)))

    def clock_bound_ns(self) -> float | None:
        """Half width of the live map from this board's clock to ours, or None before the first exchange."""
        knot = self.clock.fit_latest()
        return None if knot is None else knot.bound_ns

    def _message(self, payload: bytes, host_ns: int) -> list[BoardEvent]:
        kind = payload[0]
        if kind == messages.HELLO:
            return [self._hello(payload)]
        if not self.known:
            return []
        if kind == messages.SAMPLE:
            return self._sample(payload)
        if kind == messages.PONG:
            return self._pong(payload, host_ns)
        if kind == messages.LOG:
            return [Log(*messages.parse_log(payload))]
        raise ProtocolError(f"message of unknown type {kind:#04x}")

    def _hello(self, payload: bytes) -> Hello:
        boot_id, description = messages.parse_hello(payload)
        rebooted = boot_id != self.boot_id
        self.description = description
        if rebooted:
            self._start_boot(boot_id)
        return Hello(payload, rebooted)

    def _start_boot(self, boot_id: bytes) -> None:
        self.boot_id = boot_id
        self.boots += 1
        self.clock = ClockEstimator()
        self._pending.clear()
        self._sent = 0
        self._next_ping_ns = 0
        self._last_seq = -1

    def _sample(self, payload: bytes) -> list[BoardEvent]:
        head, channels = messages.parse_sample(payload)
        if head["boot_id"] != self.boot_id:
            return []
        lost = 0 if self._last_seq < 0 else (head["seq"] - self._last_seq - 1) & 0xFFFFFFFF
        if lost >= 1 << 31:
            raise ProtocolError(f"sample {head['seq']} after sample {self._last_seq}")
        self._last_seq = head["seq"]
        self.samples += 1
        self.lost += lost
        self.last_sample = Sample(payload, head, channels, lost)
        return [self.last_sample]

    def _pong(self, payload: bytes, host_ns: int) -> list[BoardEvent]:
        pong = messages.parse_pong(payload)
        t1_ns = self._pending.pop(pong["nonce"], None)
        if t1_ns is None or pong["boot_id"] != self.boot_id:
            return []
        self._keep(Exchange(t1_ns, pong["recv_us"] * 1000, pong["send_us"] * 1000, host_ns))
        return [ClockExchange(self.boot_id, pong["nonce"], t1_ns, pong["recv_us"], pong["send_us"], host_ns)]

    def _keep(self, exchange: Exchange) -> None:
        self.clock.add(exchange)
        del self.clock.exchanges[:-LIVE_EXCHANGES]


def _readable(garbage: bytes) -> str:
    """Text the board's interpreter printed, if that is what it is; line noise and torn frames are only counted."""
    try:
        text = garbage.decode().strip()
    except UnicodeDecodeError:
        return ""
    printable = all(c.isprintable() or c in "\r\n\t" for c in text)
    return " | ".join(text.replace("\r", "").split("\n")) if printable else ""
