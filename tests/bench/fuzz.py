"""`make bench-fuzz`: mutated frames of a board and mutated messages of a node, by the million; nothing may crash or grow.

Mutations start from what is right: bits flipped, bytes cut, doubled or swapped for others, whole values of other types, lengths
that lie. A frame goes through the decoder and the board's session, a message through the daemon's own door.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack

sys.path.insert(0, str(Path(__file__).parent.parent))

from epi_protocol import events, frame
from epid.daemon.board import BoardSession
from epid.daemon.disk import Disk
from epid.daemon.hub import Hub
from epid.daemon.recorder import Recorder
from epid.daemon.windows import Windows
from epid.errors import LinkError
from fakes import board, node

MS = 1_000_000
NUMBERS: tuple[Any, ...] = (True, -1, 0, 2**63, -(2**63), 1.5, float("nan"))
ODD: tuple[Any, ...] = (*NUMBERS, None, "", "x" * 300, b"", b"\0" * 99, [], {}, [[[]]], {"a": {}})


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Bytes with one to four things wrong with them."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        what = rng.randrange(5)
        if what == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif what == 1:
            del changed[at : at + rng.randrange(1, 9)]
        elif what == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif what == 3:
            changed[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
        else:
            changed += changed[at : at + 40]
    return bytes(changed)


def frames(rng: random.Random) -> Iterator[bytes]:
    """Board frames for ever, every other one mutated."""
    payloads = [board.hello(), board.pong(b"abcd", 1, 2), *(p for _us, p in board.stream(5, lambda t: 5.0))]
    while True:
        payload = rng.choice(payloads)
        whole = frame.encode(mutate(rng, payload)) if rng.random() < 0.4 else frame.encode(payload)
        yield mutate(rng, whole) if rng.random() < 0.5 else whole


def messages(rng: random.Random) -> Iterator[list[bytes]]:
    """Node messages for ever, nearly all of them wrong somewhere."""
    rows = [{"begin_ns": k, "end_ns": k + 1, "kind": 1} for k in range(5)]
    hello = msgpack.unpackb(events.hello("pi0", "5e55", "host", 1, "fuzz")[1])
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("hello", hello),
        ("run_begin", {"run": node.RUN, "label": "fuzz", "node_ns": 1, "settings": {}, "model": {"name": "x"}}),
        ("spans", node.spans(rows)),
        ("telemetry", {"run": node.RUN, "node_ns": 1, "readings": {"load": 0.5}}),
        ("pong", {"nonce": b"12345678", "recv_ns": 1, "send_ns": 2}),
        ("run_end", {"run": node.RUN, "node_ns": 9, "status": "complete", "spans": 5, "dropped": 0}),
        ("window_begin", {"protocol": 2, "window": "w", "name": "n", "meter": "pi0"}),
        ("window_end", {"window": "w"}),
        ("bye", {}),
    ]
    while True:
        kind, body = rng.choice(bodies)
        if body and rng.random() < 0.5:
            body = body | {rng.choice(list(body)): rng.choice(ODD)}
        packed = events.pack(kind, body)
        if rng.random() < 0.4:
            packed[1] = mutate(rng, packed[1])
        if rng.random() < 0.1:
            packed = (
                [mutate(rng, packed[0]), *packed[1:]] if rng.random() < 0.7 else packed[: rng.randrange(2)] or [b"", b"", b""]
            )
        yield packed


def fuzz_frames(rng: random.Random, n: int, watch: Callable[[int], None]) -> int:
    """Feed `n` frames to board sessions; return how many were refused. A board of another protocol ends its session."""
    session, refused = BoardSession(), 0
    for count, data in zip(range(n), frames(rng), strict=False):
        try:
            session.receive(data, count * MS)
            session.command_due(count * MS)
        except LinkError:
            refused += session.refused + 1
            session = BoardSession()
        watch(count)
    return refused + session.refused


async def fuzz_messages(rng: random.Random, n: int, folder: Path, watch: Callable[[int], None]) -> int:
    """Feed `n` messages to a daemon's hub; return how many were refused."""
    recorder = Recorder(folder, {"pi0": "0"}, Disk(folder))
    session = BoardSession()
    session.receive(board.on_the_wire([board.hello()]), 0)
    hub = Hub(recorder, "tcp://127.0.0.1:*", dict, lambda _text: None, Windows(lambda: [session], recorder.channels))
    try:
        for count, packed in zip(range(n), messages(rng), strict=False):
            await hub.take(b"peer%d" % (count % 7), packed, count * MS)
            if count % 100 == 0:
                await tidy(hub, recorder, folder, count)
            watch(count)
    finally:
        for run in list(recorder.runs.values()):
            recorder.close(run, "complete")
        hub.close()
    return hub.refused


async def tidy(hub: Hub, recorder: Recorder, folder: Path, count: int) -> None:
    """What the daemon does between messages; runs that are over leave the disk."""
    recorder.due(count * MS)
    recorder.failed.clear()
    await hub.acknowledge()
    await hub.answer_windows()
    if count % 1000 == 0:
        for run in list(recorder.runs.values()):
            recorder.close(run, "complete")
        for path in folder.glob("*.mcap"):
            path.unlink()


class Memory:
    """Watches the largest size of this process after a warm-up."""

    def __init__(self, n: int, show: bool) -> None:
        self._n, self._show = n, show
        self.warm_kib = self.last_kib = 0

    def __call__(self, count: int) -> None:
        if count % 1000:
            return
        self.last_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if count <= max(self._n // 5, 1):
            self.warm_kib = self.last_kib
        if self._show and count % 100_000 == 0:
            print(f"\r{count / self._n:6.1%}", end="", file=sys.stderr, flush=True)

    @property
    def grown_mib(self) -> float:
        """Growth since the first fifth."""
        return (self.last_kib - self.warm_kib) / 1024


def run(n: int, seed: int, show: bool = False) -> dict[str, float]:
    """Fuzz with `n` cases, half frames and half messages."""
    rng, begun_s = random.Random(seed), time.monotonic()
    of_frames, of_messages = Memory(n // 2, show), Memory(n // 2, show)
    refused_frames = fuzz_frames(rng, n // 2, of_frames)
    with tempfile.TemporaryDirectory() as folder:
        refused = asyncio.run(fuzz_messages(rng, n // 2, Path(folder), of_messages))
    return {
        "cases": n // 2 * 2,
        "refused_frames": refused_frames,
        "refused_messages": refused,
        "grown_mib": max(of_frames.grown_mib, of_messages.grown_mib),
        "seconds": time.monotonic() - begun_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/fuzz.py --cases 10000000 --seed 1")
    parser.add_argument("--cases", type=int, default=10_000_000, help="mutated frames and messages together (10 million)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = run(asked.cases, asked.seed, sys.stderr.isatty())
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<18} {value:g}" for name, value in found.items()))


if __name__ == "__main__":
    main()
