"""A run file with a load pattern in it, as the daemon would have written it: what `epid lag` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from epi_protocol import events
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter

from . import board, node
from .load import QUANTUM_J, Reading, S, Span


def write_pattern_run(path: Path, spans: Sequence[Span], readings: Sequence[Reading]) -> Path:
    """Write what a meter read while a node played some spans; all clocks agree."""
    writer = RunWriter(path, {"run": "ab12cd34", "label": "base", "node": "pi0", "channel": "0"}, "test")
    writer.write(board_topic("b", "hello"), 0, {"host_ns": 0, "payload": board.hello()})
    writer.write(node_topic("pi0", "hello"), 0, {"host_ns": 0, "body": {"session": "s"}})
    for t1_ns in range(0, readings[-1].host_ns + 1, S):
        _write_exchanges(writer, t1_ns)
    for seq, reading in enumerate(readings):
        joules = [reading.ticks * QUANTUM_J, 0, 0, 0]
        payload = board.sample(seq, reading.host_ns // 1000, [reading.p_w, 0, 0, 0], joules)
        writer.write(board_topic("b", "sample"), reading.host_ns, {"host_ns": reading.host_ns, "payload": payload})
    rows = [{"begin_ns": span.begin_ns, "end_ns": span.end_ns, "kind": events.KIND[span.kind]} for span in spans]
    writer.write(node_topic("pi0", "spans"), 0, {"host_ns": 0, "body": node.spans(rows, run="ab12cd34")})
    writer.close({"status": "complete"})
    return path


def _write_exchanges(writer: RunWriter, t1_ns: int) -> None:
    """One ping each of meter and node, 100 µs there and 90 µs back."""
    exchange = {"host_ns": t1_ns, "t1_ns": t1_ns, "t4_ns": t1_ns + 200_000}
    micros = {"t2_us": (t1_ns + 100_000) // 1000, "t3_us": (t1_ns + 110_000) // 1000}
    writer.write(board_topic("b", "clock"), t1_ns, exchange | micros | {"boot_id": board.BOOT, "nonce": b""})
    nanos = {"t2_ns": t1_ns + 100_000, "t3_ns": t1_ns + 110_000}
    writer.write(node_topic("pi0", "clock"), t1_ns, exchange | nanos | {"session": "s"})
