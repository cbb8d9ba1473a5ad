"""One meter board as the daemon sees it: bytes in, events out, commands due. No I/O in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from epi_protocol import frame, messages
from epi_protocol.errors import ProtocolError, VersionError

from ..errors import LinkError
from .pinger import Pinger

_NONCE_BYTES = 4


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
    newest HELLO's, `pinger` holds the clock of the current boot.
    """

    pinger: Pinger = field(default_factory=lambda: Pinger(_NONCE_BYTES))
    description: dict[str, Any] = field(default_factory=dict)
    boot_id: bytes = b""
    samples: int = 0
    lost: int = 0
    refused: int = 0
    boots: int = 0
    last_sample: Sample | None = None

    def __post_init__(self) -> None:
        self.decoder = frame.FrameDecoder()
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
        nonce = self.pinger.due(host_ns) if self.known else None
        return None if nonce is None else bytes(frame.encode_command(messages.pack_ping(nonce)))

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
        self.pinger.restart()
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
        if pong["boot_id"] != self.boot_id:
            return []
        recv_us, send_us = pong["recv_us"], pong["send_us"]
        exchange = self.pinger.answer(pong["nonce"], recv_us * 1000, send_us * 1000, host_ns)
        if exchange is None:
            return []
        events: list[BoardEvent] = [ClockExchange(self.boot_id, pong["nonce"], exchange.t1, recv_us, send_us, host_ns)]
        jump = self.pinger.take_jump()
        if jump is not None:
            events.append(Log(1, f"its clock and this computer's jumped apart by {jump}; did one of them sleep?"))
        return events


def _readable(garbage: bytes) -> str:
    """Text the board's interpreter printed, if that is what it is; line noise and torn frames are only counted."""
    try:
        text = garbage.decode().strip()
    except UnicodeDecodeError:
        return ""
    printable = all(c.isprintable() or c in "\r\n\t" for c in text)
    return " | ".join(text.replace("\r", "").split("\n")) if printable else ""
