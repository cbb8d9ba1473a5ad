"""What the nodes and the daemon say to each other over ZeroMQ: kinds of messages, and batches of spans. CPython only.

A message is two ZeroMQ frames: the kind in ASCII, and a msgpack map. Nodes hold a DEALER socket, the daemon a ROUTER.
A span is one closed interval in a node's own clock (`node_ns`, CLOCK_MONOTONIC_RAW); a batch holds spans as columns, so that
packing, sending, storing and reading them never touches one span at a time.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from . import PROTOCOL_VERSION
from .errors import ProtocolError, VersionError

DEFAULT_PORT = 5790
"""TCP port of the daemon's ROUTER socket."""

SERVICE_TYPE = "_epid._tcp.local."
"""Zeroconf service under which the daemon announces that port."""

NODE_KINDS = {
    "hello": "node, session, protocol, host, pid, engine: who speaks; first message of a node",
    "run_begin": "run, label, node_ns, settings, model: a run starts; the daemon opens a file for it",
    "spans": "run, seq, count, dropped, columns: a batch of spans (COLUMNS)",
    "telemetry": "run, node_ns, readings: one look at the node itself, numbers by name (READINGS)",
    "run_end": "run, node_ns, status, spans, dropped: a run is over; the daemon closes its file",
    "pong": "nonce, recv_ns, send_ns: the node's half of a two-way time exchange",
    "status": "asks for the daemon's status",
    "window_begin": "protocol, window, name, meter: a measuring window opens; `meter` is a node's name or BOARD:CHANNEL",
    "window_end": "window: it closes; answered as soon as the meter has been read after it",
    "bye": "the node leaves",
}
DAEMON_KINDS = {
    "welcome": "protocol, daemon: answer to hello",
    "refused": "reason: one sentence; nothing of what was asked happens",
    "run_open": "run, path: the run is being recorded",
    "ack": "run, seq: the batch is in the run file",
    "run_closed": "run, path, spans, dropped: the run file is complete",
    "ping": "nonce: echo it at once",
    "status": "what the daemon sees (see `epid status --json`)",
    "window_open": "window, host_ns: the window began at that moment",
    "window_closed": "window, name, board_id, channel, simulated, begin_ns, end_ns, begin, end, bound_ns, energy_j_per_tick, "
    "gain_within, fault: `begin` and `end` are two readings each, just before and just after, of (host_ns, ticks)",
}

KINDS = (
    ("idle", "nothing runs; power measured here is what the node draws anyway"),
    ("warmup", "inference that does not count"),
    ("request", "one prompt answered, from its first prompt token to its last generated one"),
    ("prefill", "the prompt goes through the model; `count` tokens"),
    ("decode", "tokens are generated one after the other; `count` tokens"),
    ("token", "one generated token, from the call of the engine to its return"),
    ("embedding", "token embedding"),
    ("attention", "attention half of layer `layer`, its norm and residual included"),
    ("ffn", "feed-forward half of layer `layer`, its norm and residual included"),
    ("layer", "layer `layer` as a whole, where its halves cannot be told apart"),
    ("head", "final norm and output head"),
    ("repeat", "layer `layer` computed once more for the sake of the measurement, and the result thrown away"),
    ("burn", "every core kept busy: the loud half of a load pattern, from which the meter's lag is found"),
    ("rest", "nothing runs: the quiet half of a load pattern; too short to be idle"),
    ("sync", "waiting for other nodes, or exchanging data with them"),
    ("repeat_attention", "like `repeat`, but of the attention half of layer `layer` alone"),
    ("repeat_ffn", "like `repeat`, but of the feed-forward half of layer `layer` alone"),
)
"""(name, meaning) of each kind of span; the number in the column is the position here plus one."""

KIND = {name: number for number, (name, _meaning) in enumerate(KINDS, 1)}
KIND_NAME = {number: name for name, number in KIND.items()}

COLUMNS = (
    ("begin_ns", "q", "start in the node's clock"),
    ("end_ns", "q", "end in the node's clock"),
    ("kind", "B", "see KINDS"),
    ("phase", "B", "kind of the phase this span is part of (prefill or decode), 0 outside"),
    ("layer", "h", "layer, counted from 0; -1 where it is none"),
    ("request", "i", "request, counted from 0 in the run; -1 outside"),
    ("token", "i", "position of the token in its request; -1 where it is none"),
    ("count", "i", "tokens processed in this span, over all sequences"),
    ("batch", "H", "sequences side by side in this span; 0 where that makes no sense"),
)
"""(name, array typecode, meaning) of each column of a batch, little-endian."""

READINGS = (
    ("temperature_c", "of the processor"),
    ("cpu_hz", "clock of the slowest core"),
    ("throttled", "the firmware's throttling flags as a number (Raspberry Pi: vcgencmd get_throttled)"),
    ("load", "runnable tasks, mean over one minute"),
    ("memory_available_bytes", "what a new program could get"),
)
"""(name, meaning) of each reading of `telemetry`; what a node cannot read is left out. Besides these, `rail_NAME_w`: watts of
one supply rail as the board's own converter estimates them (DC, behind the power supply)."""

MAX_READINGS = 64
"""Most readings in one telemetry message."""

SPAN_BYTES = sum(array(code).itemsize for _name, code, _meaning in COLUMNS)
MAX_BATCH = 1 << 16
"""Most spans in one batch; a larger one is refused, so that no message can make the daemon's memory grow."""


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """`count` spans as columns of little-endian bytes, `seq` counted from 0 in the run.

    `dropped` is the number of spans that the node's ring has lost since the start of the run.
    """

    run: str
    seq: int
    count: int
    dropped: int
    columns: Mapping[str, bytes]

    def arrays(self) -> dict[str, array[int]]:
        """Return each column as an array of its own type."""
        out = {}
        for name, code, _meaning in COLUMNS:
            column = array(code)
            column.frombytes(self.columns[name])
            if sys.byteorder == "big":
                column.byteswap()
            out[name] = column
        return out

    def rows(self) -> Iterator[dict[str, int]]:
        """Yield one dict per span; for people and tests, not for millions."""
        arrays = self.arrays()
        for index in range(self.count):
            yield {name: column[index] for name, column in arrays.items()}

    def to_map(self) -> dict[str, Any]:
        """Return the map that travels as the body of a `spans` message and stands in the run file."""
        return {"run": self.run, "seq": self.seq, "count": self.count, "dropped": self.dropped, "columns": dict(self.columns)}


def span_batch(body: Mapping[str, Any]) -> SpanBatch:
    """Check the body of a `spans` message and return it as a SpanBatch; ProtocolError says what is wrong with it."""
    run, columns = _field(body, "run", str), _field(body, "columns", dict)
    seq, count, dropped = (_field(body, name, int) for name in ("seq", "count", "dropped"))
    if not 0 <= count <= MAX_BATCH:
        raise ProtocolError(f"batch of {count} spans; at most {MAX_BATCH} fit in one")
    for name, code, _meaning in COLUMNS:
        column = columns.get(name)
        expected = count * array(code).itemsize
        if not isinstance(column, bytes) or len(column) != expected:
            raise ProtocolError(f"batch of {count} spans whose column {name!r} is not {expected} bytes long")
    return SpanBatch(run, seq, count, dropped, columns)


def readings(body: Mapping[str, Any]) -> dict[str, float]:
    """Check the body of a `telemetry` message and return its readings; ProtocolError says what is wrong with it."""
    _field(body, "run", str)
    _field(body, "node_ns", int)
    values = _field(body, "readings", dict)
    if len(values) > MAX_READINGS:
        raise ProtocolError(f"telemetry with {len(values)} readings; at most {MAX_READINGS} fit in one message")
    for name, value in values.items():
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int | float):
            raise ProtocolError(f"telemetry whose reading {str(name)[:40]!r} is {type(value).__name__}, expected a number")
    return {name: float(value) for name, value in values.items()}


def pack(kind: str, body: Mapping[str, Any] | None = None) -> list[bytes]:
    """Return the two ZeroMQ frames of a message."""
    return [kind.encode(), msgpack.packb(body or {})]


def unpack(frames: list[bytes]) -> tuple[str, dict[str, Any]]:
    """Return (kind, body) of a message; ProtocolError where it is none."""
    if len(frames) != 2:
        raise ProtocolError(f"message of {len(frames)} parts, expected a kind and a body")
    kind = bytes(frames[0]).decode("ascii", "replace")
    if kind not in NODE_KINDS and kind not in DAEMON_KINDS:
        raise ProtocolError(f"message of unknown kind {kind[:40]!r}")
    try:
        body = msgpack.unpackb(frames[1], strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"{kind} whose body is not msgpack: {error}") from None
    if not isinstance(body, dict):
        raise ProtocolError(f"{kind} whose body is not a map")
    return kind, body


def hello(node: str, session: str, host: str, pid: int, engine: str) -> list[bytes]:
    """Return the first message of a node: its name, a random id of this process's session, and what it runs."""
    return pack(
        "hello",
        {"protocol": PROTOCOL_VERSION, "node": node, "session": session, "host": host, "pid": pid, "engine": engine},
    )


def check_version(body: Mapping[str, Any], who: str) -> None:
    """Raise VersionError unless a hello's or welcome's `protocol` is ours; `who` names the other side in the sentence."""
    theirs = _field(body, "protocol", int)
    if theirs != PROTOCOL_VERSION:
        raise VersionError(
            f"{who} speaks protocol {theirs}, this program protocol {PROTOCOL_VERSION}; bring both to the same release"
        )


def _field(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ProtocolError(f"message whose {name!r} is {type(value).__name__}, expected {kind.__name__}")
    return value
