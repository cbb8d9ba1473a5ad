"""What `fuzz.py` feeds: board frames and node messages for ever, made from right ones by doing them wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgpack

from epi_protocol import events, messages
from epi_protocol.checksum import crc32_bytes
from fakes import board, node

BOARD_NONCE, NODE_NONCE = b"abcd", b"12345678"
"""Nonces of the mutated answers to pings; whoever feeds them has the pings pending."""

NUMBERS: tuple[Any, ...] = (True, -1, 0, 2**63, -(2**63), 1.5, float("nan"))
ODD: tuple[Any, ...] = (*NUMBERS, None, "", "x" * 300, b"", b"\0" * 99, [], {}, [[[]]], {"a": {}})
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Bytes with one to four things wrong with them."""
    changed = bytearray(data)
    for _ in range(1 + int(rng.random() * 4)):
        at, what = int(rng.random() * (len(changed) + 1)), int(rng.random() * 5)
        if what == 0 and changed:
            changed[at - 1] ^= 1 << int(rng.random() * 8)
        elif what == 1:
            del changed[at : at + 1 + int(rng.random() * 8)]
        elif what == 2:
            changed[at:at] = rng.randbytes(1 + int(rng.random() * 8))
        elif what == 3:
            changed[at : at + 4] = EXTREMES[int(rng.random() * 3)]
        else:
            changed += changed[at : at + 40]
    return bytes(changed)


def on_the_wire(payload: bytes) -> bytes:
    """A frame with a right checksum, whatever the payload; quicker than the board's encoder, which allocates nothing."""
    out = bytearray(1)
    for run in (payload + crc32_bytes(payload)).split(b"\0"):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
        out.append(len(run) + 1)
        out += run
    out.append(0)
    return bytes(out)


def frames(rng: random.Random) -> Iterator[bytes]:
    """Board frames for ever: a third right, a third wrong inside an intact frame, a third damaged on the way."""
    payloads = [board.hello(), board.hello(channels=[]), messages.pack_log(board.BOOT, 1, "chip 2 is absent")]
    payloads += [board.pong(BOARD_NONCE, 1000 * k, 1000 * k + 250) for k in range(20)]
    payloads += [board.sample(seq, seq * 50_000, [6.0] * (1 + seq % 2), [0.3 * seq] * (1 + seq % 2)) for seq in range(20)]
    wholes = [on_the_wire(payload) for payload in payloads]
    while True:
        at, chance = int(rng.random() * len(payloads)), rng.random()
        if chance < 1 / 3:
            yield on_the_wire(mutate(rng, payloads[at]))
        else:
            yield mutate(rng, wholes[at]) if chance > 2 / 3 else wholes[at]


def node_bodies() -> list[tuple[str, dict[str, Any]]]:
    """One right message of each kind that a node or a client sends."""
    rows = [{"begin_ns": k, "end_ns": k + 1, "kind": 1} for k in range(5)]
    return [
        ("hello", msgpack.unpackb(events.hello("pi0", "5e55", "host", 1, "fuzz")[1])),
        ("run_begin", {"run": node.RUN, "label": "fuzz", "node_ns": 1, "settings": {}, "model": {"name": "x"}}),
        ("spans", node.spans(rows)),
        ("telemetry", {"run": node.RUN, "node_ns": 1, "readings": {"load": 0.5}}),
        ("pong", {"nonce": NODE_NONCE, "recv_ns": 1, "send_ns": 2}),
        ("run_end", {"run": node.RUN, "node_ns": 9, "status": "complete", "spans": 5, "dropped": 0}),
        ("window_begin", {"protocol": 2, "window": "w", "name": "n", "meter": "pi0"}),
        ("window_end", {"window": "w"}),
        ("bye", {}),
    ]


def node_messages(rng: random.Random) -> Iterator[list[bytes]]:
    """Node messages for ever, most of them wrong somewhere."""
    bodies = node_bodies()
    while True:
        kind, body = bodies[int(rng.random() * len(bodies))]
        if body and rng.random() < 0.5:
            body = body | {rng.choice(list(body)): ODD[int(rng.random() * len(ODD))]}
        packed = events.pack(kind, body)
        chance = rng.random()
        if chance < 0.4:
            packed[1] = mutate(rng, packed[1])
        elif chance < 0.47:
            packed[0] = mutate(rng, packed[0])
        elif chance < 0.5:
            packed = (packed * 2)[: 1 + int(rng.random() * 4)]
        yield packed
