"""What the daemon would have heard of the simulated node: hello, run, time exchanges, spans, telemetry."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from heapq import merge
from random import Random
from typing import Any

import numpy as np

from epi_protocol import PROTOCOL_VERSION, events
from epi_tools.simrun.delays import RunningApart, uniform_delays
from epi_tools.simrun.layout import Message, Simulated, when
from epi_tools.simrun.spans import Spans
from epid.daemon.pinger import BURST_PERIOD_NS, BURST_PINGS, PING_PERIOD_NS
from epid.record.topics import node_topic

NODE = "sim0"

_BATCH = 4096
_TELEMETRY_NS = 1_000_000_000
_SESSION = "51f0000000000000"


def node_messages(simulated: Simulated) -> Iterator[Message]:
    """Yield (host_ns, topic, body) in order of time."""
    rng = Random(f"node {simulated.run}")
    clock = RunningApart(simulated.truth.clocks.node_ppm, rng.randrange(1 << 50))
    hello = {
        "protocol": PROTOCOL_VERSION,
        "node": NODE,
        "session": _SESSION,
        "host": "simulated",
        "pid": 1,
        "engine": "simulated",
    }
    yield simulated.begin_ns, node_topic(NODE, "hello"), {"body": hello}
    begin = {
        "run": simulated.run,
        "label": simulated.label,
        "node_ns": clock.at(simulated.begin_ns),
        "settings": _settings(simulated),
        "model": dict(simulated.model),
    }
    yield simulated.begin_ns, node_topic(NODE, "run"), {"kind": "run_begin", "body": begin}
    yield from merge(_exchanges(simulated, clock, rng), _batches(simulated, clock, rng), _telemetry(simulated, clock), key=when)
    end = {"run": simulated.run, "node_ns": clock.at(simulated.end_ns), "status": "complete", "spans": len(simulated.spans)}
    yield simulated.end_ns, node_topic(NODE, "run"), {"kind": "run_end", "body": end | {"dropped": 0}}


def _settings(simulated: Simulated) -> dict[str, Any]:
    work = simulated.truth.workload
    return {
        "simulated": True,
        "arm": simulated.truth.arm,
        "tokens": work.tokens,
        "requests": work.requests,
        "prompt_tokens": work.prompt_tokens,
        "load_pattern": {"seed": simulated.seed, "seconds": work.pattern_s},
        "repeats": work.repeats,
        "repeat_halves": work.repeat_halves,
    }


def _exchanges(simulated: Simulated, clock: RunningApart, rng: Random) -> Iterator[Message]:
    """Time exchanges as the daemon makes them: a burst, then one each 0.98 s; each leg takes its own time."""
    delay_ns = uniform_delays(rng, simulated.truth.clocks.net_ms)
    # The daemon has known the node for a while: the run file starts with the exchanges of the time before.
    t1_ns, sent = simulated.start_ns, 0
    while t1_ns < simulated.end_ns:
        received_ns = t1_ns + delay_ns()
        answered_ns = received_ns + rng.randint(20_000, 90_000)
        t4_ns = answered_ns + delay_ns()
        stamps = {"t1_ns": t1_ns, "t2_ns": clock.at(received_ns), "t3_ns": clock.at(answered_ns), "t4_ns": t4_ns}
        yield (
            max(t4_ns, simulated.begin_ns),
            node_topic(NODE, "clock"),
            {"session": _SESSION, "nonce": struct.pack("<Q", sent), **stamps},
        )
        sent += 1
        t1_ns = t4_ns + (BURST_PERIOD_NS if sent < BURST_PINGS else PING_PERIOD_NS)


def _batches(simulated: Simulated, clock: RunningApart, rng: Random) -> Iterator[Message]:
    """Spans as the node sends them, in its own clock, each batch a little after its last span."""
    for seq, batch in enumerate(simulated.spans.in_order_of("end_ns").chunks(_BATCH)):
        times = {
            name: np.array([clock.at(int(moment)) for moment in batch.columns[name]], np.int64) for name in ("begin_ns", "end_ns")
        }
        columns = Spans(batch.columns | times).packed()
        body = events.SpanBatch(simulated.run, seq, len(batch), 0, columns).to_map()
        sent_ns = int(batch.columns["end_ns"][-1]) + rng.randint(1_000_000, 200_000_000)
        yield min(sent_ns, simulated.end_ns), node_topic(NODE, "spans"), {"body": body}


def _telemetry(simulated: Simulated, clock: RunningApart) -> Iterator[Message]:
    for at_ns in range(simulated.begin_ns, simulated.end_ns, _TELEMETRY_NS):
        celsius = float(simulated.celsius[(at_ns - simulated.start_ns) // simulated.step_ns])
        readings = {"temperature_c": round(celsius, 2), "cpu_hz": 2_400_000_000, "throttled": 0}
        body = {"run": simulated.run, "node_ns": clock.at(at_ns), "readings": readings}
        yield at_ns, node_topic(NODE, "telemetry"), {"body": body}
