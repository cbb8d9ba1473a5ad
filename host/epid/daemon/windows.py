"""Measuring windows that clients open and close: which readings of the energy registers stand at their edges.

No joule is computed here. A window's answer holds the readings just before and just after each edge, on the daemon's clock, and
the client makes of them what they are worth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from epi_protocol import events, messages

from ..errors import UsageError
from .board import BoardSession, Sample
from .gate import MAX_NAME, text

MAX_OPEN = 1000
LEASE_NS = 86_400_000_000_000
"""A window that nobody has ended after a day is forgotten: its client is gone."""

PATIENCE_NS = 3_000_000_000
"""How long an ended window waits for the meter to be read once more."""

_RECENT = 8
_BROKEN = messages.flag("ABSENT") | messages.flag("REINIT")
_NOT_COUNTED = messages.flag("ABSENT") | messages.flag("ENERGY_LATE")

Reading = tuple[int, int]
"""(host_ns, ticks) of the energy registers of one channel."""


@dataclass
class Window:
    """One open window. `client` is the socket address that gets the answer; `end_ns` 0 until it has been ended."""

    client: bytes
    window: str
    name: str
    board: BoardSession
    channel: int
    boot_id: bytes
    begin_ns: int
    end_ns: int = 0
    begin: list[Reading] = field(default_factory=list)
    newest: list[Reading] = field(default_factory=list)
    unknown: int = -1
    fault: str = ""

    def take(self, reading: Reading | None, block: Mapping[str, Any], boot_id: bytes) -> None:
        """Take one reading of the channel, in order."""
        if boot_id != self.boot_id:
            self.fault = "the meter restarted inside it"
        elif block["flags"] & _BROKEN or (self.unknown >= 0 and block["unknown"] != self.unknown):
            self.fault = "the meter lost an energy reading inside it"
        self.unknown = block["unknown"]
        if reading is None:
            return
        if len(self.begin) < 2:
            self.begin = [*self.begin[-1:], reading] if reading[0] > self.begin_ns else [reading]
        self.newest = [*self.newest[-1:], reading]

    @property
    def complete(self) -> bool:
        """Whether a reading from after the end has come, or none will."""
        return bool(self.end_ns) and (bool(self.fault) or (bool(self.newest) and self.newest[-1][0] >= self.end_ns))


class Windows:
    """The open windows of all clients. `boards` says which meters there are, `channels` which of theirs feeds a node."""

    def __init__(self, boards: Callable[[], Iterable[BoardSession]], channels: Mapping[str, str]) -> None:
        self._boards, self._channels = boards, channels
        self._open: dict[tuple[bytes, str], Window] = {}
        self._recent: dict[str, deque[Sample]] = {}

    @property
    def open_count(self) -> int:
        """Windows that have not been answered yet."""
        return len(self._open)

    def begin(self, client: bytes, body: Mapping[str, Any], host_ns: int) -> Window:
        """Open a window now; UsageError says why not."""
        events.check_version(body, "this client")
        window, name, meter = (text(body, key, MAX_NAME) for key in ("window", "name", "meter"))
        self._forget_old(host_ns)
        if len(self._open) >= MAX_OPEN:
            raise UsageError(f"{MAX_OPEN} measuring windows are open already; end some of them")
        if not window or (client, window) in self._open:
            raise UsageError(f"window {name!r} is open already, or has no id")
        board, channel = self._meter(meter)
        opened = self._open[client, window] = Window(client, window, name, board, channel, board.boot_id, host_ns)
        for sample in self._recent.get(board.board_id, ()):
            if sample.head["boot_id"] == board.boot_id:
                self._feed(opened, sample)
        opened.fault = ""  # what went wrong before it began is no fault of the window
        return opened

    def end(self, client: bytes, body: Mapping[str, Any], host_ns: int) -> None:
        """Close a window now; its answer comes from `done` when the meter has been read once more."""
        opened = self._open.get((client, text(body, "window", MAX_NAME)))
        if opened is None:
            raise UsageError("window_end for a window that is not open; the daemon may have been restarted since")
        opened.end_ns = opened.end_ns or host_ns

    def sample(self, board: BoardSession, sample: Sample) -> None:
        """Take one sweep of a board."""
        self._recent.setdefault(board.board_id, deque(maxlen=_RECENT)).append(sample)
        for opened in self._open.values():
            if opened.board.board_id == board.board_id and not opened.complete:
                self._feed(opened, sample)

    def done(self, host_ns: int) -> list[tuple[bytes, dict[str, Any]]]:
        """Return (client, answer) of the windows that can be answered, and forget them."""
        answers = []
        for key, opened in list(self._open.items()):
            late = bool(opened.end_ns) and host_ns - opened.end_ns > PATIENCE_NS
            if opened.complete or late:
                del self._open[key]
                answers.append((opened.client, _answer(opened)))
        return answers

    def _feed(self, opened: Window, sample: Sample) -> None:
        if opened.channel < len(sample.channels):
            block = sample.channels[opened.channel]
            opened.take(_reading(opened.board, sample, block), block, sample.head["boot_id"])

    def _meter(self, meter: str) -> tuple[BoardSession, int]:
        known = {board.board_id: board for board in self._boards() if board.known}
        board_id, _, number = self._channels.get(meter, meter).rpartition(":")
        if not known:
            raise UsageError("no meter is connected: there is nothing to measure a window with")
        board = known.get(board_id) if board_id else next(iter(known.values()))
        if board is None or not number.isdigit() or int(number) >= len(board.description.get("channels", [])):
            nodes = ", ".join(sorted(self._channels)) or "none"
            raise UsageError(
                f"{meter!r} is no metered node (known: {nodes}) and no BOARD:CHANNEL of a meter ({', '.join(known)})"
            )
        return board, int(number)

    def _forget_old(self, host_ns: int) -> None:
        self._open = {key: opened for key, opened in self._open.items() if host_ns - opened.begin_ns < LEASE_NS}


def _reading(board: BoardSession, sample: Sample, block: Mapping[str, Any]) -> Reading | None:
    """A channel's counter on the daemon's clock; None where it was not read, or the board's clock is not known yet."""
    knot = board.pinger.knot()
    if knot is None or block["flags"] & _NOT_COUNTED:
        return None
    board_ns = (sample.head["board_us"] + block["dt_us"]) * 1000
    return knot.host_ns + round((board_ns - knot.peer_ns) * knot.rate), block["forward"] - block["reverse"]


def _answer(opened: Window) -> dict[str, Any]:
    scales = opened.board.description["channels"][opened.channel]
    calibration = scales.get("calibration") or {}
    fault = opened.fault
    if not fault and (len(opened.begin) < 2 or opened.begin[0][0] > opened.begin_ns or not opened.complete):
        fault = "the meter's readings do not cover it"
    within_ppm = calibration.get("within_ppm")
    return {
        "window": opened.window,
        "name": opened.name,
        "board_id": opened.board.board_id,
        "channel": opened.channel,
        "simulated": bool(opened.board.description.get("simulated", False)),
        "begin_ns": opened.begin_ns,
        "end_ns": opened.end_ns,
        "begin": opened.begin,
        "end": opened.newest,
        "bound_ns": opened.board.pinger.bound_ns(),
        "energy_j_per_tick": scales["energy_j_per_tick"],
        "gain_within": None if within_ppm is None else within_ppm * 1e-6,
        "fault": fault,
    }
