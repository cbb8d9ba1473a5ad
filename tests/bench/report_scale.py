"""How long a report takes, and how much memory, over the number of spans: synthetic runs of an hour and of parts of one.

python tests/bench/report_scale.py --hours 0.1 --hours 1 --spans-per-s 8400
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from epi_protocol import events
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import board

S = 1_000_000_000
N_LAYER, BATCH_TOKENS, IDLE_S, REQUEST_TOKENS = 32, 400, 30, 2000
BUSY_W, IDLE_W = 9.0, 3.5
RUN = "ab12cd34ef56ab12"


def write_run(path: Path, hours: float, spans_per_s: float) -> int:
    """Write a run of so many hours of decoding between two idle windows; return the number of its spans."""
    per_token = 2 * N_LAYER + 3
    tokens = round(hours * 3600 * spans_per_s / per_token)
    token_ns = round(hours * 3600 * S / tokens)
    begin_ns = IDLE_S * S
    end_ns = begin_ns + tokens * token_ns
    writer = RunWriter(path, {"run": RUN, "label": "scale", "node": "pi0", "channel": "0", "utc": "2026-01-02T03:04"}, "bench")
    _write_meter(writer, begin_ns, end_ns)
    spans = _write_node(writer, tokens, token_ns, begin_ns, end_ns)
    writer.close({"status": "complete"})
    return spans


def _write_meter(writer: RunWriter, begin_ns: int, end_ns: int) -> None:
    def joules(t_s: float) -> float:
        return IDLE_W * t_s + (BUSY_W - IDLE_W) * min(max(t_s - begin_ns / S, 0), (end_ns - begin_ns) / S)

    def watts(t_s: float) -> float:
        return BUSY_W if begin_ns / S <= t_s < end_ns / S else IDLE_W

    writer.write(board_topic("b", "hello"), 0, {"host_ns": 0, "payload": board.hello()})
    seconds = end_ns / S + IDLE_S
    for k in range(int(seconds) + 1):
        stamps = {"t1_ns": k * S, "t2_us": k * 1_000_000 + 10, "t3_us": k * 1_000_000 + 20, "t4_ns": k * S + 30_000}
        writer.write(board_topic("b", "clock"), k * S, {"boot_id": board.BOOT, "nonce": b"", **stamps})
    for board_us, payload in board.stream(seconds, watts, joules_at=joules):
        writer.write(board_topic("b", "sample"), board_us * 1000, {"host_ns": board_us * 1000, "payload": payload})


def _write_node(writer: RunWriter, tokens: int, token_ns: int, begin_ns: int, end_ns: int) -> int:
    topic = node_topic("pi0", "spans")
    model = {"name": "m.gguf", "sha256": "0" * 64, "n_layer": N_LAYER}
    writer.write(node_topic("pi0", "hello"), 1, {"host_ns": 1, "body": {"session": "s", "engine": "bench"}})
    begin = {"run": RUN, "model": model, "settings": {}}
    writer.write(node_topic("pi0", "run"), 1, {"host_ns": 1, "kind": "run_begin", "body": begin})
    for k in range(0, int(end_ns / S) + IDLE_S, 2):
        stamps = {"t1_ns": k * S, "t2_ns": k * S + 40_000, "t3_ns": k * S + 50_000, "t4_ns": k * S + 90_000}
        writer.write(node_topic("pi0", "clock"), k, {"session": "s", "nonce": b"", **stamps})
    seq = written = 0
    for columns in (_frame(tokens, token_ns, begin_ns, end_ns), *_tokens(tokens, token_ns, begin_ns)):
        count = len(columns["kind"])
        packed = {name: np.asarray(columns[name]).astype(f"<{code}").tobytes() for name, code, _meaning in events.COLUMNS}
        body = events.SpanBatch(RUN, seq, count, 0, packed).to_map()
        writer.write(topic, int(columns["end_ns"][-1]), {"host_ns": int(columns["end_ns"][-1]), "body": body})
        seq, written = seq + 1, written + count
    return written


def _frame(tokens: int, token_ns: int, begin_ns: int, end_ns: int) -> dict[str, np.ndarray]:
    """Idle before and after, and the requests with their decode phases."""
    firsts = np.arange(0, tokens, REQUEST_TOKENS)
    lasts = np.minimum(firsts + REQUEST_TOKENS, tokens)
    starts, ends = begin_ns + firsts * token_ns, begin_ns + lasts * token_ns
    n = len(firsts)
    kinds = [events.KIND["idle"]] * 2 + [events.KIND["request"]] * n + [events.KIND["decode"]] * n
    request = np.concatenate([[-1, -1], np.arange(n), np.arange(n)])
    count = np.concatenate([[0, 0], lasts - firsts, lasts - firsts])
    return {
        "begin_ns": np.concatenate([[S, end_ns], starts, starts]),
        "end_ns": np.concatenate([[begin_ns, end_ns + (IDLE_S - 2) * S], ends, ends]),
        "kind": np.array(kinds),
        "phase": np.array([0] * (2 + n) + [events.KIND["decode"]] * n),
        "layer": np.full(2 + 2 * n, -1),
        "request": request,
        "token": np.full(2 + 2 * n, -1),
        "count": count,
        "batch": np.ones(2 + 2 * n),
    }


def _tokens(tokens: int, token_ns: int, begin_ns: int):
    """Batches of whole tokens: embedding, halves of all layers with jitter, one layer repeated, the token itself."""
    rng = np.random.default_rng(1)
    kinds = np.array([events.KIND["embedding"], *[events.KIND["attention"], events.KIND["ffn"]] * N_LAYER, events.KIND["repeat"]])
    layers = np.array([-1, *np.repeat(np.arange(N_LAYER), 2), 0])
    for first in range(0, tokens, BATCH_TOKENS):
        n = min(BATCH_TOKENS, tokens - first)
        lasts = rng.uniform(0.9, 1.1, (n, len(kinds)))
        edges = np.concatenate([np.zeros((n, 1)), np.cumsum(lasts, axis=1)], axis=1)
        at = begin_ns + (first + np.arange(n))[:, None] * token_ns + (edges / edges[:, -1:] * 0.97 * token_ns).astype(np.int64)
        layer = np.tile(layers, (n, 1))
        layer[:, -1] = rng.integers(N_LAYER, size=n)
        yield _with_token(at, np.tile(kinds, (n, 1)), layer, first)


def _with_token(at: np.ndarray, kinds: np.ndarray, layer: np.ndarray, first: int) -> dict[str, np.ndarray]:
    n, per = kinds.shape[0], kinds.shape[1] + 1
    number = np.repeat(first + np.arange(n), per)

    def wide(inner: np.ndarray, last: np.ndarray) -> np.ndarray:
        return np.column_stack([inner, last]).ravel()

    return {
        "begin_ns": wide(at[:, :-1], at[:, 0]),
        "end_ns": wide(at[:, 1:], at[:, -1]),
        "kind": wide(kinds, np.full(n, events.KIND["token"])),
        "phase": np.full(n * per, events.KIND["decode"]),
        "layer": wide(layer, np.full(n, -1)),
        "request": number // REQUEST_TOKENS,
        "token": number % REQUEST_TOKENS,
        "count": np.ones(n * per),
        "batch": np.ones(n * per),
    }


def report(path: Path) -> dict[str, float]:
    """Run `epid report --json` on a file in a process of its own: seconds, and the most memory it ever had."""
    script = (
        "import sys; from epid.cli import main\n"
        "main(['report', sys.argv[1], '--json'], standalone_mode=False)\n"
        "sys.stderr.write(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.monotonic() - began, "cpu_s": cpu_s, "peak_mib": int(done.stderr.split()[-2]) / 1024}


def main() -> None:
    """Write, report and print one line of JSON per length of run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--hours", type=float, action="append", help="Length of a run; may be given more than once. Default: 0.1."
    )
    parser.add_argument("--spans-per-s", type=float, default=8400)
    arguments = parser.parse_args()
    for hours in arguments.hours or [0.1]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scale.mcap"
            spans = write_run(path, hours, arguments.spans_per_s)
            found = {"hours": hours, "spans": spans, "file_mib": path.stat().st_size / 2**20, **report(path)}
            print(json.dumps({name: round(value, 2) for name, value in found.items()}), flush=True)


if __name__ == "__main__":
    main()
