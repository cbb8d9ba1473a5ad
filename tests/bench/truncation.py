"""`make bench-truncation`: what a crash at any byte costs. A run file is cut at random places, and read; the loss is timed.

A cut may lose the last flush (half a second), never more, and never a message from before it.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from epid.record.reader import RunFile
from epid.record.writer import RunWriter

S = 1_000_000_000
SAMPLE_NS = 50_000_000


@dataclass(frozen=True)
class Written:
    """A run file, and how much of it was on the disk after each sample."""

    data: bytes
    sizes: list[int]


def write(path: Path, seconds: int, rng: random.Random) -> Written:
    """Write a run of one meter and one node, noting after each message how much has reached the operating system."""
    writer, sizes = RunWriter(path, {"run": "ab12cd34", "label": "cut", "node": "pi0"}, "bench"), []
    for k in range(seconds * S // SAMPLE_NS):
        now_ns = k * SAMPLE_NS
        writer.write("/board/b/sample", now_ns, {"host_ns": now_ns, "payload": rng.randbytes(230)})
        if k % 5 == 0:
            writer.write("/node/pi0/spans", now_ns, {"host_ns": now_ns, "body": {"columns": {"begin_ns": rng.randbytes(4000)}}})
        if k % 20 == 0:
            writer.write("/board/b/clock", now_ns, {"host_ns": now_ns, "t1_ns": now_ns})
        sizes.append(path.stat().st_size)
    writer.close({"status": "complete"})
    return Written(path.read_bytes(), sizes)


@dataclass(frozen=True)
class Cut:
    """One cut: bytes kept, messages read, seconds between the last message read and the last one that was given before it."""

    at: int
    read: int
    lost_s: float
    tail_bytes: int


def cut(written: Written, at: int, path: Path) -> Cut:
    """Cut the file after `at` bytes and read it; the messages must be the first ones, in order."""
    path.write_bytes(written.data[:at])
    file = RunFile(path)
    times = [message.host_ns for message in file.messages()]
    assert times == sorted(times), "messages out of order"
    # The crash came when so much was on the disk: what had been written by then, and what of it is still there?
    moment = min(bisect_right(written.sizes, at), len(written.sizes) - 1)
    last_ns = max(times, default=0)
    assert file.damage or file.complete, "a cut must be said"
    return Cut(at, len(times), (moment * SAMPLE_NS - last_ns) / S, at - _kept(written.data[:at]))


def _kept(data: bytes) -> int:
    """Bytes up to the end of the last whole record."""
    stream, end = io.BytesIO(data), 8
    while True:
        stream.seek(end)
        head = stream.read(9)
        if len(head) < 9 or end + 9 + int.from_bytes(head[1:], "little") > len(data):
            return min(end, len(data))
        end += 9 + int.from_bytes(head[1:], "little")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/truncation.py --cuts 10000")
    parser.add_argument("--cuts", type=int, default=10_000, help="places to cut at (10000)")
    parser.add_argument("--seconds", type=int, default=60, help="length of the run (60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder) / "run.mcap", asked.seconds, rng)
        places = [rng.randrange(200, len(written.data)) for _ in range(asked.cuts)]
        cuts = [cut(written, at, Path(folder) / "cut.mcap") for at in places]
    found = {
        "cuts": len(cuts),
        "file_bytes": len(written.data),
        "worst_lost_s": max(each.lost_s for each in cuts),
        "mean_lost_s": sum(each.lost_s for each in cuts) / len(cuts),
        "worst_lost_bytes": max(each.tail_bytes for each in cuts),
    }
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<18} {value:g}" for name, value in found.items()))


if __name__ == "__main__":
    main()
