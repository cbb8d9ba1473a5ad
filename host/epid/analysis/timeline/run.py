"""A run file in memory: raw samples, raw exchanges and raw spans, sorted by who sent them. No meaning is put on here."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epi_protocol import events, messages
from epi_protocol.errors import ProtocolError

from ...clocks import ClockEstimator, ClockMap, Exchange
from ...errors import RunFileError
from ...record.reader import RunFile, RunMessage
from ...record.topics import split_topic
from .span_columns import SpanColumns

if TYPE_CHECKING:
    from .timeline import SpanTable


def _dtype(fields: tuple[tuple[str, str, str], ...]) -> np.dtype[Any]:
    codes = {"u8": "u1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "u64": "<u8", "id4": "V4"}
    return np.dtype([(name, codes[kind]) for name, kind, _meaning in fields])


HEAD_DTYPE = _dtype(messages.SAMPLE_FIELDS)
CHANNEL_DTYPE = _dtype(messages.CHANNEL_FIELDS)


@dataclass
class BoardRecord:
    """One board in one run: its description, its samples as packed bytes, its exchanges by boot."""

    board_id: str
    description: dict[str, Any] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)
    clocks: dict[bytes, ClockEstimator] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    _maps: dict[bytes, ClockMap] | None = None
    _samples: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def simulated(self) -> bool:
        """Whether the firmware said that its chips are a model."""
        return bool(self.description.get("simulated", False))

    def clock_maps(self) -> dict[bytes, ClockMap]:
        """Return the map of each boot's clock that has one; fitted once, all channels share it."""
        if self._maps is None:
            fitted = {boot: estimator.fit() for boot, estimator in self.clocks.items()}
            self._maps = {boot: clock for boot, clock in fitted.items() if clock is not None}
        return self._maps

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (heads, channels): structured arrays of shape (n,) and (n, n_channels), raw as the board sent them."""
        if self._samples is None:
            n_channels = len(self.description.get("channels", []))
            row = np.dtype([("head", HEAD_DTYPE), ("channels", CHANNEL_DTYPE, (n_channels,))])
            rows = np.frombuffer(b"".join(p for p in self.payloads if len(p) == row.itemsize), dtype=row)
            rows = rows[_first_of_each(rows["head"])]
            self._samples = rows["head"], rows["channels"]
        return self._samples


def _first_of_each(heads: np.ndarray) -> np.ndarray:
    """Indices of the samples in order, each once: two parts of a run may both hold the moments around the restart."""
    _unique, first = np.unique(heads[["boot_id", "seq"]], return_index=True)
    return np.sort(first)


@dataclass
class NodeRecord:
    """One node in one run: spans as columns, exchanges by session, what it said about the run."""

    node: str
    hello: dict[str, Any] = field(default_factory=dict)
    begin: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    spans: SpanColumns = field(default_factory=SpanColumns)
    clocks: dict[str, ClockEstimator] = field(default_factory=dict)
    looks: dict[int, dict[str, float]] = field(default_factory=dict)
    """node_ns → readings by name, of each look at the node itself."""

    telemetry_repeated: int = 0
    """Looks that came a second time: a node sends again what it had no answer to when a connection broke."""

    batches: set[int] = field(default_factory=set)
    batches_repeated: int = 0
    """Numbers of the span batches, and how many of them came a second time: they count once."""

    placed: SpanTable | None = None
    """The spans on the host's clock, once they were asked for; see timeline.span_table."""

    @property
    def telemetry(self) -> list[tuple[int, dict[str, float]]]:
        """(node_ns, readings by name) of each look, in the order they came first."""
        return list(self.looks.items())


@dataclass
class Run:
    """Everything that stands in one run file."""

    path: Path
    metadata: dict[str, str]
    end: dict[str, str]
    boards: dict[str, BoardRecord]
    nodes: dict[str, NodeRecord]
    notes: list[str]
    damage: list[str]

    @property
    def label(self) -> str:
        """What the person called this run, or the file's name."""
        return self.metadata.get("label") or self.path.stem

    @property
    def node(self) -> NodeRecord:
        """The node whose run this is; RunFileError where it never spoke."""
        name = self.metadata.get("node", "").replace("/", "_")
        if name not in self.nodes:
            raise RunFileError(f"{self.path} holds no spans of a node; was inference run under hookrun?")
        return self.nodes[name]


def load_run(path: Path) -> Run:
    """Read a run whole: its file, and the `.partN` files in which it went on after a restart of the daemon.

    Damage is collected in `Run.damage`, and fatal only where nothing can be read.
    """
    run: Run | None = None
    for part in [path, *_later_parts(path)]:
        file = RunFile(part)
        if run is None:
            run = Run(path, file.metadata, file.end, {}, {}, [], file.damage)
        _take_all(run, file)
    assert run is not None
    return run


def _later_parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.stem)}.part*.mcap"))


def _take_all(run: Run, file: RunFile) -> None:
    for message in file.messages():
        try:
            _take(run, message)
        except (KeyError, TypeError, ProtocolError) as error:
            file.damage.append(f"{file.path.name}: a message on {message.topic} was skipped ({error})")
    if not file.complete and not file.damage:
        file.damage.append(f"{file.path.name} has no index: it is still open, or its recording was stopped")
    if file.damage is not run.damage:
        run.damage += file.damage
        run.end = file.end


def _take(run: Run, message: RunMessage) -> None:
    side, name, kind = split_topic(message.topic)
    body = message.body
    if side == "board":
        _BOARD[kind](run.boards.setdefault(name, BoardRecord(name)), body)
    elif side == "node":
        _NODE[kind](run.nodes.setdefault(name, NodeRecord(name)), body)
    elif side == "epid":
        run.notes.append(str(body["text"]))


def _board_hello(board: BoardRecord, body: dict[str, Any]) -> None:
    boot_id, board.description = messages.parse_hello(body["payload"])
    board.clocks.setdefault(boot_id, ClockEstimator())


def _board_clock(board: BoardRecord, body: dict[str, Any]) -> None:
    exchange = Exchange(body["t1_ns"], body["t2_us"] * 1000, body["t3_us"] * 1000, body["t4_ns"])
    board.clocks.setdefault(body["boot_id"], ClockEstimator()).add(exchange)


def _node_run(node: NodeRecord, body: dict[str, Any]) -> None:
    if body["kind"] == "run_begin":
        node.begin = body["body"]
    else:
        node.end = body["body"]


def _node_clock(node: NodeRecord, body: dict[str, Any]) -> None:
    exchange = Exchange(body["t1_ns"], body["t2_ns"], body["t3_ns"], body["t4_ns"])
    node.clocks.setdefault(body["session"], ClockEstimator()).add(exchange)


def _node_telemetry(node: NodeRecord, body: dict[str, Any]) -> None:
    node_ns, found = int(body["body"]["node_ns"]), events.readings(body["body"])
    node.telemetry_repeated += node_ns in node.looks
    node.looks.setdefault(node_ns, found)


def _node_spans(node: NodeRecord, body: dict[str, Any]) -> None:
    """A batch that was on disk, but not yet acknowledged when the daemon died, comes again and stands in the next part too."""
    batch = events.span_batch(body["body"])
    if batch.seq in node.batches:
        node.batches_repeated += 1
        return
    node.batches.add(batch.seq)
    node.spans.add(batch)


def _node_hello(node: NodeRecord, body: dict[str, Any]) -> None:
    node.hello = body["body"]


_BOARD: dict[str, Callable[[BoardRecord, dict[str, Any]], None]] = {
    "hello": _board_hello,
    "sample": lambda board, body: board.payloads.append(body["payload"]),
    "clock": _board_clock,
    "log": lambda board, body: board.logs.append(str(body["text"])),
}
_NODE: dict[str, Callable[[NodeRecord, dict[str, Any]], None]] = {
    "hello": _node_hello,
    "run": _node_run,
    "spans": _node_spans,
    "clock": _node_clock,
    "telemetry": _node_telemetry,
}
