"""Who checks the meter: what was taken out of the chips' registers against what the board has booked, sweep by sweep."""

from dataclasses import asdict, dataclass, field

from epi_protocol import messages as m
from epi_tools.chip import registers as reg

_HEAD, _BLOCK = m.size_of(m.SAMPLE_FIELDS), m.size_of(m.CHANNEL_FIELDS)
_FORWARD, _UNKNOWN, _FLAGS = (m.offset_of(m.CHANNEL_FIELDS, name) for name in ("forward", "unknown", "flags"))
_NOT_COUNTED = m.flag("ABSENT") | m.flag("ENERGY_LATE")
_PATIENCE_NS = 30_000_000_000
"""A chip that was reset is set up again, and the loss marked, long before this; a dead or deaf one has to come back first."""


@dataclass
class Ledger:
    """Energy ticks of one channel. What counts is `unmarked`: everything else is known to the host."""

    booked: int = 0
    lost_in_resets: int = 0
    lost_in_marked_sweeps: int = 0
    unmarked: int = 0
    gaps: int = 0
    gaps_marked: int = 0
    marks: int = 0
    marks_without_a_loss: int = 0


@dataclass
class ChannelAudit:
    """Compares one channel's message block with its chip. `reset` is told before the chip loses its registers."""

    cleared: dict[int, int]
    ledger: Ledger = field(default_factory=Ledger)
    _off: int = 0
    _booked: int = 0
    _unknown: int = 0
    _lost: int = 0
    _pending_since_ns: int = 0
    _counting: bool = False

    def restart(self) -> None:
        """The board starts anew with empty books: the boot id marks everything up to the first sweep that counts energy."""
        if self._lost:
            self._close_gap(self._lost)
        self._counting = False
        self._booked = self._unknown = 0
        self._off = -self.cleared[reg.AP_ENERGY] - self.cleared[reg.AN_ENERGY]

    def reset(self, ticks: int, now_ns: int) -> None:
        """The chip loses `ticks` that nobody has read."""
        self._lost += ticks
        if ticks and not self._pending_since_ns:
            self._pending_since_ns = now_ns

    def sweep(self, payload: bytearray, at: int, now_ns: int, reachable: bool) -> None:
        """Look at the block that starts at `at` in the payload of a SAMPLE."""
        booked = int.from_bytes(payload[at + _FORWARD : at + _FORWARD + 8], "little")
        booked += int.from_bytes(payload[at + _FORWARD + 8 : at + _FORWARD + 16], "little")
        unknown = int.from_bytes(payload[at + _UNKNOWN : at + _UNKNOWN + 2], "little")
        cleared = self.cleared[reg.AP_ENERGY] + self.cleared[reg.AN_ENERGY]
        self.ledger.booked += booked - self._booked
        if not self._counting:
            self._begin(int.from_bytes(payload[at + _FLAGS : at + _FLAGS + 2], "little"))
        self._judge(booked - cleared - self._off, (unknown - self._unknown) & 0xFFFF, now_ns, reachable)
        self._off, self._booked, self._unknown = booked - cleared, booked, unknown

    def _begin(self, flags: int) -> None:
        if self._lost:
            self._close_gap(self._lost)
        self._counting = not flags & _NOT_COUNTED

    def _judge(self, error: int, marks: int, now_ns: int, reachable: bool) -> None:
        ledger = self.ledger
        ledger.marks += marks
        if error:
            ledger.gaps += 1
            ledger.gaps_marked += bool(marks)
            if marks:
                ledger.lost_in_marked_sweeps += abs(error)
            else:
                ledger.unmarked += abs(error)
        if marks and self._lost:
            self._close_gap(self._lost)
        elif marks and not error:
            ledger.marks_without_a_loss += marks
        if not reachable:
            self._pending_since_ns = now_ns if self._lost else 0
        elif self._lost and now_ns - self._pending_since_ns > _PATIENCE_NS:
            ledger.gaps += 1
            ledger.unmarked += self._lost
            self._lost = self._pending_since_ns = 0

    def _close_gap(self, ticks: int) -> None:
        self.ledger.gaps += 1
        self.ledger.gaps_marked += 1
        self.ledger.lost_in_resets += ticks
        self._lost = self._pending_since_ns = 0


class HostAudit:
    """What arrives: every number that is missing has to be one that the board says it has dropped."""

    def __init__(self) -> None:
        self.frames = self.missing = self.unexplained = self.boots = 0
        self._boot_id, self._seq, self._gaps = b"", -1, 0

    def receive(self, payloads: list[bytes], drained: bool) -> None:
        """Take payloads; `drained` says that the board holds no more of them."""
        samples = [payload for payload in payloads if payload[0] == m.SAMPLE]
        for payload in samples:
            boot_id, seq = payload[1:5], int.from_bytes(payload[5:9], "little")
            if boot_id != self._boot_id:
                self._boot_id, self._gaps, self._seq = boot_id, 0, -1
                self.boots += 1
            self._gaps += seq - self._seq - 1
            self.missing += seq - self._seq - 1
            self._seq = seq
            self.frames += 1
        told = [int.from_bytes(payload[17:21], "little") for payload in samples[-2:]]
        if drained and len(told) == 2 and told[0] == told[1]:  # else the ring may have dropped one after the last was stamped
            self.unexplained += abs(self._gaps - told[1])


def block_at(channel: int) -> int:
    """Where a channel's block starts in a SAMPLE payload."""
    return _HEAD + channel * _BLOCK


def figures(audits: list[ChannelAudit], host: HostAudit) -> dict[str, object]:
    """The result as JSON holds it."""
    return {
        "channels": [asdict(audit.ledger) for audit in audits],
        "host": {name: getattr(host, name) for name in ("frames", "missing", "unexplained", "boots")},
    }
