"""Readings and spans on the host's clock, each with the bound of its place in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from epi_protocol import messages

from ...clocks import ClockMap
from ...errors import RunFileError
from .placing import host_times, place
from .run import BoardRecord, NodeRecord

CHUNK = 1 << 20
"""Spans that are worked on at once."""

__all__ = ["MeterTrack", "SpanTable", "energy_faults", "meter_track", "place", "span_table"]

_UNREADABLE = messages.flag("MEASURE_INVALID") | messages.flag("ABSENT")
_NOT_COUNTED = messages.flag("ABSENT") | messages.flag("ENERGY_LATE")
_NO_ENERGY = messages.flag("ABSENT") | messages.flag("REINIT")


@dataclass(frozen=True, slots=True)
class MeterTrack:
    """One channel of one board over a run, all arrays of shape (n,).

    `host_ns` int64, `bound_ns` float64: when P was read. `p_w`, `u_v`, `i_a`: NaN where the reading was invalid. `energy_j`:
    net forward energy since boot as the registers counted it, in steps of `quantum_j`; NaN where it cannot be trusted.
    `segment`: number of the boot, energy differences across boots mean nothing. `lost`: frames missing just before.
    """

    board_id: str
    channel: int
    name: str
    simulated: bool
    quantum_j: float
    sample_hz: float
    host_ns: np.ndarray
    bound_ns: np.ndarray
    p_w: np.ndarray
    u_v: np.ndarray
    i_a: np.ndarray
    energy_j: np.ndarray
    segment: np.ndarray
    lost: np.ndarray
    flags: np.ndarray
    unknown: np.ndarray
    dropped: int

    def __len__(self) -> int:
        return len(self.host_ns)


def meter_track(board: BoardRecord, channel: int) -> MeterTrack:
    """Put one channel of a board on the host's clock.

    Raises RunFileError where the board has no such channel, no samples, or no time exchange to place them by.
    """
    described = board.description.get("channels", [])
    if not 0 <= channel < len(described):
        raise RunFileError(f"meter {board.board_id} has channels 0 to {len(described) - 1}, not {channel}; see --channel")
    heads, blocks = board.samples()
    maps = board.clock_maps()
    placed = np.array([bytes(boot) in maps for boot in heads["boot_id"]], dtype=bool)
    if not placed.any():
        raise RunFileError(f"meter {board.board_id} has no samples that a time exchange could place on the timeline")
    heads, blocks, scales = heads[placed], blocks[placed][:, channel], described[channel]
    segment = _segments(heads)
    board_ns = (heads["board_us"].astype(np.int64) + blocks["dt_us"]) * 1000
    host_ns, bound_ns = _place_by_boot(board_ns, heads["boot_id"], maps)
    return MeterTrack(
        board_id=board.board_id,
        channel=channel,
        name=str(scales.get("name", channel)),
        simulated=board.simulated,
        quantum_j=float(scales["energy_j_per_tick"]),
        sample_hz=float(board.description.get("sample_hz", 0)),
        host_ns=host_ns,
        bound_ns=bound_ns,
        p_w=_extended(blocks, "p") * scales["p_w"],
        u_v=_extended(blocks, "u") * scales["u_v"],
        i_a=_extended(blocks, "i") * scales["i_a"],
        energy_j=_energy_j(blocks, float(scales["energy_j_per_tick"])),
        segment=segment,
        lost=_lost(heads["seq"], segment),
        flags=blocks["flags"],
        unknown=blocks["unknown"],
        dropped=int(heads["dropped"].max()),
    )


@dataclass(frozen=True, slots=True)
class SpanTable:
    """The spans of a run on the host's clock: columns as in events.COLUMNS, shape (n,), times replaced by host time.

    `bound_ns` is the worst bound of the node's clock over the run.
    """

    columns: dict[str, np.ndarray]
    bound_ns: float
    dropped: int

    def of_kind(self, kind: int) -> dict[str, np.ndarray]:
        """Columns of the spans of one kind."""
        return self.where(self.columns["kind"] == kind)

    def where(self, keep: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of the spans for which `keep` (bool, shape (n,)) is true."""
        found = np.flatnonzero(keep)
        return {name: column[found] for name, column in self.columns.items()}

    def chunks(self, size: int = CHUNK) -> Iterator[dict[str, np.ndarray]]:
        """Views of `size` spans after the other: what is computed from them stays small, however long the run."""
        for first in range(0, len(self.columns["kind"]), size):
            yield {name: column[first : first + size] for name, column in self.columns.items()}


def span_table(node: NodeRecord) -> SpanTable:
    """Put a node's spans on the host's clock, once; RunFileError where no time exchange says how."""
    if node.placed is None:
        session = str(node.hello.get("session", ""))
        estimator = node.clocks.get(session) or next(iter(node.clocks.values()), None)
        fitted = estimator.fit() if estimator is not None else None
        if fitted is None:
            raise RunFileError(f"node {node.node} answered no time exchange: its spans cannot be placed on the timeline")
        columns = node.spans.columns()
        for name in ("begin_ns", "end_ns"):
            for first in range(0, len(columns[name]), CHUNK):
                piece = columns[name][first : first + CHUNK]
                piece[:] = host_times(piece, fitted)
        node.placed = SpanTable(columns, fitted.worst_bound_ns, node.spans.dropped)
    return node.placed


def _segments(heads: np.ndarray) -> np.ndarray:
    changed = np.zeros(len(heads), dtype=np.int64)
    changed[1:] = heads["boot_id"][1:] != heads["boot_id"][:-1]
    return np.cumsum(changed)


def _lost(seq: np.ndarray, segment: np.ndarray) -> np.ndarray:
    lost = np.zeros(len(seq), dtype=np.int64)
    lost[1:] = np.where(segment[1:] == segment[:-1], np.diff(seq.astype(np.int64)) - 1, 0)
    return lost


def _place_by_boot(board_ns: np.ndarray, boots: np.ndarray, maps: dict[bytes, ClockMap]) -> tuple[np.ndarray, np.ndarray]:
    host_ns, bound_ns = np.zeros(len(board_ns), dtype=np.int64), np.zeros(len(board_ns))
    ids = [bytes(boot) for boot in boots]
    for boot, fitted in maps.items():
        # Not `array == boot`: numpy would drop the zeros at the end of an id.
        mine = np.array([one == boot for one in ids], dtype=bool)
        if mine.any():
            host_ns[mine], bound_ns[mine] = place(board_ns[mine], fitted)
    return host_ns, bound_ns


def _extended(blocks: np.ndarray, name: str) -> np.ndarray:
    value = messages.extended(blocks[name].astype(np.float64), blocks[f"{name}_lsb"].astype(np.float64))
    return np.where(blocks["flags"] & _UNREADABLE, np.nan, value)


def _energy_j(blocks: np.ndarray, quantum_j: float) -> np.ndarray:
    ticks = blocks["forward"].astype(np.int64) - blocks["reverse"].astype(np.int64)
    return np.where(blocks["flags"] & _NOT_COUNTED, np.nan, ticks * quantum_j)


def energy_faults(track: MeterTrack) -> np.ndarray:
    """Which samples say that energy was lost before them: shape (n,), bool."""
    lost = (track.flags & _NO_ENERGY) != 0
    lost[1:] |= track.unknown[1:] != track.unknown[:-1]
    return lost
