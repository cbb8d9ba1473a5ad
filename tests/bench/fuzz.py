"""`make bench-fuzz`: mutated frames of a board and mutated messages of a node, by the million; nothing may crash or grow.

Mutations start from what is right: bits flipped, bytes cut, doubled or swapped for others, whole values of other types, lengths
that lie. A frame goes through the decoder and the board's session, a message through the daemon's own door into real run files,
with a meter beside it; and every run file that came of it is analysed. Only the sockets are left out. The cases come in chunks
with a seed each: one that crashes can be made again, and with --out a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz_cases import BOARD_NONCE, NODE_NONCE, frames, node_messages

from epi_protocol import events, frame
from epid.analysis.summary import summarise
from epid.daemon.board import BoardSession
from epid.daemon.disk import Disk
from epid.daemon.hub import Hub
from epid.daemon.intake import Intake
from epid.daemon.recorder import Recorder
from epid.daemon.windows import Windows
from epid.errors import EpidError, LinkError
from fakes import board

MS = 1_000_000
TIDY_EVERY = 100
CLOSE_EVERY = 800
STARTED_NS = time.time_ns()
IN_MEMORY = Path("/dev/shm")  # this is about parsers: no disk has to be waited for


@dataclass
class Tally:
    """What became of the cases: to refuse is well, a crash is any exception that the daemon would not have caught."""

    refused: int = 0
    crashes: int = 0
    first_crash: str = ""
    files: int = 0
    files_refused: int = 0

    def crashed(self, case: object, error: Exception) -> None:
        """Count a crash, and keep what made the first one."""
        self.crashes += 1
        self.first_crash = self.first_crash or f"{case!r}: {error!r}"


def fuzz_frames(rng: random.Random, n: int) -> Tally:
    """Feed `n` frames to board sessions. A board of another protocol ends its session, as it does in the daemon."""
    session, tally = BoardSession(), Tally()
    for count, data in enumerate(islice(frames(rng), n)):
        try:
            session.pinger.expect(BOARD_NONCE, count * MS)
            session.receive(data, count * MS + MS // 2)
            session.command_due(count * MS)
            if count % CLOSE_EVERY == 0:
                session.pinger.bound_ns()
        except LinkError:
            tally.refused += session.refused + 1
            session = BoardSession()
        except Exception as error:  # noqa: BLE001  counted and shown: that there is none is what this bench is for
            tally.crashed((count, data), error)
    tally.refused += session.refused
    return tally


class Deaf(Hub):
    """A hub whose answers are packed and go nowhere."""

    async def _send(self, identity: bytes, kind: str, body: dict[str, Any]) -> None:
        events.pack(kind, body)


class World:
    """A daemon without sockets that records into `folder`: its hub, and one meter that does everything right."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self._folder, self._tally = folder, tally
        self._recorder, self._meter = Recorder(folder, {"pi0": "0"}, Disk(folder)), BoardSession()
        self._intake = Intake(self._recorder, self._recorder.note)
        self._samples = 0
        windows = Windows(lambda: [self._meter], self._recorder.channels)
        self.hub = Deaf(self._recorder, "tcp://127.0.0.1:*", dict, lambda _text: None, windows)
        self._meter_says(board.hello(), 0)

    def _meter_says(self, payload: bytes, now_ns: int) -> None:
        for event in self._meter.receive(frame.encode(payload), now_ns):
            self._intake.take(self._meter, event, now_ns)

    async def tidy(self, now_ns: int) -> None:
        """What a daemon does between messages: meter, pings, flushes, acknowledgements."""
        self._samples += 1
        self._meter_says(board.sample(self._samples, now_ns // 1000, [6.0], [now_ns * 6e-9]), now_ns)
        self._meter.pinger.expect(BOARD_NONCE, now_ns - MS)
        self._meter_says(board.pong(BOARD_NONCE, now_ns // 1000, now_ns // 1000 + 1), now_ns)
        await self._right_pongs(now_ns)
        self._recorder.due(now_ns)
        self._recorder.failed.clear()
        await self.hub.acknowledge()
        await self.hub.answer_windows()

    async def _right_pongs(self, now_ns: int) -> None:
        """Every node answers one ping well; the next is left open, for a mutated answer."""
        for session in list(self.hub.sessions.values()):
            session.pinger.expect(NODE_NONCE, now_ns - MS)
            right = {"nonce": NODE_NONCE, "recv_ns": now_ns, "send_ns": now_ns + 1000}
            await self.hub.take(session.identity, events.pack("pong", right), now_ns)
            session.pinger.expect(NODE_NONCE, now_ns)

    def read_back(self) -> None:
        """Close every run, analyse its file, and remove it."""
        for run in list(self._recorder.runs.values()):
            self._recorder.close(run, "complete")
        for path in self._folder.glob("*.mcap"):
            self._analyse(path)
            path.unlink()

    def _analyse(self, path: Path) -> None:
        self._tally.files += 1
        try:
            summarise(path)
        except EpidError:
            self._tally.files_refused += 1
        except Exception as error:  # noqa: BLE001  counted and shown
            self._tally.crashed(path.name, error)

    def close(self) -> None:
        """Read what is left, and close the hub."""
        self.read_back()
        self._tally.refused = self.hub.refused
        self.hub.close()


async def fuzz_messages(rng: random.Random, n: int, folder: Path) -> Tally:
    """Feed `n` messages to a daemon's hub."""
    tally = Tally()
    world = World(folder, tally)
    for count, packed in enumerate(islice(node_messages(rng), n)):
        try:
            await world.hub.take(b"peer%d" % (count % 7), packed, count * MS)
            if count % TIDY_EVERY == 0:
                await world.tidy(count * MS)
            if count % CLOSE_EVERY == 0:
                world.read_back()
        except Exception as error:  # noqa: BLE001  counted and shown
            tally.crashed((count, packed), error)
    world.close()
    return tally


COUNTS = ("cases", "crashes", "refused_frames", "refused_messages", "run_files_analysed", "run_files_refused")


def fuzz_chunk(n: int, seed: int, number: int) -> dict[str, Any]:
    """Fuzz with `n` cases, half frames and half messages; `size_mib` is the largest size of this process so far."""
    rng = random.Random(f"{seed} {number}")
    of_frames = fuzz_frames(rng, n // 2)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        of_messages = asyncio.run(fuzz_messages(rng, n // 2, Path(folder)))
    crashed = [f"seed {seed}, chunk {number}, {tally.first_crash}" for tally in (of_frames, of_messages) if tally.crashes]
    counts = (of_frames.refused, of_messages.refused, of_messages.files, of_messages.files_refused)
    return {
        "chunk": [seed, number, n],
        **dict(zip(COUNTS, (n // 2 * 2, of_frames.crashes + of_messages.crashes, *counts), strict=True)),
        "first_crash": "; ".join(crashed),
        "process": f"{os.getpid()} {STARTED_NS}",
        "size_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run(n: int, seed: int, processes: int = 1, chunk: int = 100_000, out: Path | None = None) -> dict[str, Any]:
    """Fuzz with `n` cases; what `out` holds of them is not done again."""
    results = [] if out is None or not out.exists() else [json.loads(line) for line in out.read_text().splitlines()]
    done = [tuple(result["chunk"]) for result in results]
    todo = [number for number in range(-(-n // chunk)) if (seed, number, min(chunk, n)) not in done]
    job = partial(fuzz_chunk, min(chunk, n), seed)
    if processes == 1:
        results += [_kept(job(number), out) for number in todo]
    else:
        with ProcessPoolExecutor(processes) as pool:
            jobs = [pool.submit(job, number) for number in todo]
            results += [_kept(each.result(), out) for each in as_completed(jobs)]
    return summary(results)


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the chunks; `grown_mib` is how much a process has grown at most since the end of its first chunk."""
    sizes: dict[str, list[float]] = {}
    for result in results:
        sizes.setdefault(result["process"], []).append(result["size_mib"])
    found: dict[str, Any] = {name: sum(result[name] for result in results) for name in COUNTS}
    found["first_crash"] = "; ".join(result["first_crash"] for result in results if result["crashes"])
    return found | {"grown_mib": max(max(each) - min(each) for each in sizes.values())}


def _kept(result: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """Add a chunk's result to the file at once."""
    if out is not None:
        with out.open("a") as stream:
            print(json.dumps(result), file=stream)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/fuzz.py --cases 10000000 --seed 1")
    parser.add_argument("--cases", type=int, default=10_000_000, help="mutated frames and messages together (10 million)")
    parser.add_argument("--chunk", type=int, default=100_000, help="cases that are done as one (100,000)")
    parser.add_argument("--processes", type=int, default=2, help="processes that share the chunks (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep each chunk's result here, and do not do again what is kept")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = run(asked.cases, asked.seed, asked.processes, asked.chunk, asked.out)
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<18} {value}" for name, value in found.items()))
    sys.exit(1 if found["crashes"] else 0)


if __name__ == "__main__":
    main()
