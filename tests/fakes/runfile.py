"""Whole run files of a small decoder on a made-up node: every argument is one thing that can be different or wrong with a run."""

from __future__ import annotations

import numpy as np

from epi_protocol import events
from epid.record.topics import board_topic, node_topic
from epid.record.writer import RunWriter
from fakes import board, node

S = 1_000_000_000
IDLE_W, LEAD_S, IDLE_S, PREFILL_S = 3.5, 1.0, 6.0, 0.5
DECODE, PREFILL = events.KIND["decode"], events.KIND["prefill"]


def model_map(sha="0" * 64, plan=None, n_head=(8, 8), **more):
    """The model of run_begin."""
    base = {"name": "m", "file": "m.gguf", "sha256": sha, "n_layer": len(n_head), "n_head": list(n_head), "n_head_kv": [2, 2]}
    return base | ({"plan": plan} if plan else {}) | more


def cut_plan(query=(16, 12), kv=(4, 4), read=(1000, 900), flops=(2000, 1900), n_head=(8, 8)):
    """A plan of epi-surgery with (before, after) of each count."""

    def count(pair):
        return {"before": pair[0], "after": pair[1]}

    return {
        "format": "epi-surgery plan",
        "architecture": {"n_layer": len(n_head), "n_head": list(n_head), "n_kv": [2, 2], "head_dim_k": 0, "head_dim_v": 0},
        "aim": {"target": "all"},
        "shares": {"query_heads": count(query), "kv_heads": count(kv)},
        "per_token": {"context": 64, "flops": count(flops), "read_bytes": count(read)},
    }


def accuracy(correct, n=1000):
    """What epi-surgery eval left beside a model, as it stands in the model map."""
    return {"eval": {"accuracy": {"task": "blimp", "correct": correct, "n": n}}, "eval_matches": True}


def write_run(
    path, *, label="run", model=None, busy_w=9.0, token_s=0.05, tokens=60, requests=3, idle=True, simulated=True, settings=None,
    status="complete", utc="2026-01-02T03:04", board_id="b", lost=(), unknown_from_s=None, with_power=True, with_spans=True,
    record=None, celsius=None, kinds=(),
):  # fmt: skip
    """Write a run: idle, requests of a prefill and `tokens` tokens in two layers, idle. `lost`: (begin, end) without frames."""
    work_s = requests * (PREFILL_S + tokens * token_s)
    begin_s, end_s = LEAD_S + IDLE_S, LEAD_S + IDLE_S + work_s
    metadata = {"run": "ab12cd34", "label": label, "node": "pi0", "channel": "0", "utc": utc}
    writer = RunWriter(path, metadata, "test")
    if with_power:
        _write_power(writer, board_id, simulated, begin_s, end_s, busy_w, lost, unknown_from_s, record)
    rows = _rows(begin_s, end_s, token_s, tokens, requests, idle) if with_spans else []
    rows = [row for row in rows if not kinds or row["kind"] in {events.KIND[kind] for kind in kinds}]
    _write_node(writer, rows, model or model_map(), settings or {"tokens": tokens}, end_s + IDLE_S, celsius)
    writer.close({"status": status})
    return path


def _write_power(writer, board_id, simulated, begin_s, end_s, busy_w, lost, unknown_from_s, record):
    def joules(t):
        return IDLE_W * t + (busy_w - IDLE_W) * (np.clip(t, begin_s, end_s) - begin_s)

    hello = board.description(simulated=simulated, board_id=board_id)
    if record:
        hello["channels"] = [channel | {"calibration": record} for channel in hello["channels"]]
    writer.write(board_topic(board_id, "hello"), 0, {"host_ns": 0, "payload": board.hello(**hello)})
    last_s = end_s + IDLE_S + 1
    for k in range(int(last_s) + 1):
        stamps = {"t1_ns": k * S, "t2_us": k * 1_000_000 + 10, "t3_us": k * 1_000_000 + 20, "t4_ns": k * S + 30_000}
        writer.write(board_topic(board_id, "clock"), k * S, {"boot_id": board.BOOT, "nonce": b"", **stamps})
    for seq in range(int(last_s * 20)):
        t = seq / 20
        if any(first <= t < last for first, last in lost):
            continue
        doubt = 1 if unknown_from_s is not None and t >= unknown_from_s else 0
        watts = busy_w if begin_s <= t < end_s else IDLE_W
        payload = board.sample(seq, seq * 50_000, [watts, 0, 0, 0], [float(joules(t)), 0, 0, 0], unknown=doubt)
        writer.write(board_topic(board_id, "sample"), int(t * S), {"host_ns": int(t * S), "payload": payload})


def _rows(begin_s, end_s, token_s, tokens, requests, idle):
    rows = []

    def row(kind, first_s, last_s, **more):
        rows.append({"begin_ns": round(first_s * S), "end_ns": round(last_s * S), "kind": events.KIND[kind], **more})

    if idle:
        row("idle", LEAD_S, begin_s)
        row("idle", end_s, end_s + IDLE_S)
    at = begin_s
    for request in range(requests):
        first = at + PREFILL_S
        last = first + tokens * token_s
        row("prefill", at, first, phase=PREFILL, request=request, count=32)
        row("decode", first, last, phase=DECODE, request=request, count=tokens)
        row("request", at, last, request=request, count=32 + tokens)
        for token in range(tokens):
            shared = {"phase": DECODE, "request": request, "token": token, "count": 1}
            begin = first + token * token_s
            row("token", begin, begin + token_s, **shared)
            for layer, kind, start, end in (
                (0, "attention", 0, 0.2),
                (0, "ffn", 0.2, 0.5),
                (1, "attention", 0.5, 0.6),
                (1, "ffn", 0.6, 0.9),
            ):
                row(kind, begin + start * token_s, begin + end * token_s, layer=layer, **shared)
        at = last
    return rows


def _write_node(writer, rows, model, settings, last_s, celsius):
    writer.write(node_topic("pi0", "hello"), 1, {"host_ns": 1, "body": {"session": "s", "engine": "fake"}})
    body = {"run": "ab12cd34", "model": model, "settings": settings}
    writer.write(node_topic("pi0", "run"), 1, {"host_ns": 1, "kind": "run_begin", "body": body})
    for k in range(int(last_s) + 2):
        stamps = {"t1_ns": k * S, "t2_ns": k * S + 40_000, "t3_ns": k * S + 50_000, "t4_ns": k * S + 90_000}
        writer.write(node_topic("pi0", "clock"), k, {"session": "s", "nonce": b"", **stamps})
    writer.write(node_topic("pi0", "spans"), 2, {"host_ns": 2, "body": node.spans(rows, run="ab12cd34")})
    if celsius is not None:
        look = {"run": "ab12cd34", "node_ns": S, "readings": {"temperature_c": celsius}}
        writer.write(node_topic("pi0", "telemetry"), 3, {"host_ns": 3, "body": look})
