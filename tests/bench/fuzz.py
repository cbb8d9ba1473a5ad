"""`make bench-fuzz`: mutated frames of a board and mutated messages of a node, by the million; nothing may crash or grow.

Mutations start from what is right: bits flipped, bytes cut, doubled or swapped for others, whole values of other types, lengths
that lie. A frame goes through the decoder and the board's session, a message through the daemon's own door into real run files.
Only the sockets are left out. Each process has its own seed, so a case that crashes can be made again.
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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack

sys.path.insert(0, str(Path(__file__).parent.parent))

from epi_protocol import events, messages
from epi_protocol.checksum import crc32_bytes
from epid.daemon.board import BoardSession
from epid.daemon.disk import Disk
from epid.daemon.hub import Hub
from epid.daemon.recorder import Recorder
from epid.daemon.windows import Windows
from epid.errors import LinkError
from fakes import board, node

MS = 1_000_000
IN_MEMORY = Path("/dev/shm")  # this is about parsers: no disk has to be waited for
TIDY_EVERY = 100
CLOSE_EVERY = 1000
BOARD_NONCE, NODE_NONCE = b"abcd", b"12345678"
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
    while True:
        payload = payloads[int(rng.random() * len(payloads))]
        chance = rng.random()
        whole = on_the_wire(mutate(rng, payload) if chance < 1 / 3 else payload)
        yield mutate(rng, whole) if chance > 2 / 3 else whole


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


@dataclass
class Tally:
    """What became of the cases: refused ones are well, a crash is any exception that the daemon would not have caught."""

    refused: int = 0
    crashes: int = 0
    first_crash: str = ""
    sizes_kib: list[int] = field(default_factory=list)

    def crashed(self, count: int, data: object, error: Exception) -> None:
        """Count a crash, and keep what made the first one."""
        self.crashes += 1
        self.first_crash = self.first_crash or f"case {count}, {data!r}: {error!r}"

    def look(self) -> None:
        """Note how large this process has been at most."""
        self.sizes_kib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    @property
    def grown_mib(self) -> float:
        """Growth after the first fifth of the cases, in which tables and allocators fill."""
        return (self.sizes_kib[-1] - self.sizes_kib[len(self.sizes_kib) // 5]) / 1024 if self.sizes_kib else 0.0


def fuzz_frames(rng: random.Random, n: int) -> Tally:
    """Feed `n` frames to board sessions. A board of another protocol ends its session, as it does in the daemon."""
    session, tally = BoardSession(), Tally()
    for count, data in enumerate(islice(frames(rng), n)):
        try:
            session.pinger.expect(BOARD_NONCE, count * MS)
            session.receive(data, count * MS + 500)
            session.command_due(count * MS)
            if count % CLOSE_EVERY == 0:
                session.pinger.bound_ns()
                tally.look()
        except LinkError:
            tally.refused += session.refused + 1
            session = BoardSession()
        except Exception as error:  # noqa: BLE001  counted and shown: that there is none is what this bench is for
            tally.crashed(count, data, error)
    tally.refused += session.refused
    return tally


class Deaf(Hub):
    """A hub whose answers are packed and go nowhere."""

    async def _send(self, identity: bytes, kind: str, body: dict[str, Any]) -> None:
        events.pack(kind, body)


async def fuzz_messages(rng: random.Random, n: int, folder: Path) -> Tally:
    """Feed `n` messages to a daemon's hub."""
    recorder, session, tally = Recorder(folder, {"pi0": "0"}, Disk(folder)), BoardSession(), Tally()
    session.receive(on_the_wire(board.hello()), 0)
    hub = Deaf(recorder, "tcp://127.0.0.1:*", dict, lambda _text: None, Windows(lambda: [session], recorder.channels))
    try:
        for count, packed in enumerate(islice(node_messages(rng), n)):
            try:
                await hub.take(b"peer%d" % (count % 7), packed, count * MS)
                if count % TIDY_EVERY == 0:
                    await tidy(hub, recorder, folder, count)
                    tally.look()
            except Exception as error:  # noqa: BLE001  counted and shown
                tally.crashed(count, packed, error)
    finally:
        close_runs(recorder, folder)
        hub.close()
    tally.refused = hub.refused
    return tally


async def tidy(hub: Hub, recorder: Recorder, folder: Path, count: int) -> None:
    """What the daemon does between messages; runs that are over leave the disk."""
    recorder.due(count * MS)
    recorder.failed.clear()
    await hub.acknowledge()
    await hub.answer_windows()
    for session in hub.sessions.values():
        session.pinger.expect(NODE_NONCE, count * MS)
    if count % CLOSE_EVERY == 0:
        close_runs(recorder, folder)


def close_runs(recorder: Recorder, folder: Path) -> None:
    """Close and remove every run file."""
    for run in list(recorder.runs.values()):
        recorder.close(run, "complete")
    for path in folder.glob("*.mcap"):
        path.unlink()


def one_process(n: int, seed: int) -> dict[str, Any]:
    """Fuzz with `n` cases, half frames and half messages."""
    rng = random.Random(seed)
    of_frames = fuzz_frames(rng, n // 2)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        of_messages = asyncio.run(fuzz_messages(rng, n // 2, Path(folder)))
    return {
        "cases": n // 2 * 2,
        "crashes": of_frames.crashes + of_messages.crashes,
        "first_crash": "".join(f"seed {seed}, {tally.first_crash}\n" for tally in (of_frames, of_messages) if tally.crashes),
        "refused_frames": of_frames.refused,
        "refused_messages": of_messages.refused,
        "grown_mib": max(of_frames.grown_mib, of_messages.grown_mib),
    }


def run(n: int, seed: int, processes: int = 1) -> dict[str, Any]:
    """Fuzz with `n` cases in so many processes; counts are sums, `grown_mib` is that of the process that grew most."""
    begun_s, shares = time.monotonic(), [n // processes] * processes
    seeds = range(seed * processes, (seed + 1) * processes)
    if processes == 1:
        parts = [one_process(n, seed)]
    else:
        with ProcessPoolExecutor(processes) as pool:
            parts = list(pool.map(one_process, shares, seeds))
    found = {name: sum(part[name] for part in parts) for name in ("cases", "crashes", "refused_frames", "refused_messages")}
    texts = {"first_crash": "".join(part["first_crash"] for part in parts)}
    return found | texts | {"grown_mib": max(part["grown_mib"] for part in parts), "seconds": time.monotonic() - begun_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/fuzz.py --cases 10000000 --seed 1")
    parser.add_argument("--cases", type=int, default=10_000_000, help="mutated frames and messages together (10 million)")
    parser.add_argument("--processes", type=int, default=2, help="processes that share the cases (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = run(asked.cases, asked.seed, asked.processes)
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<18} {value}" for name, value in found.items()))
    sys.exit(1 if found["crashes"] else 0)


if __name__ == "__main__":
    main()
