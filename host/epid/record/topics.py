"""What stands in a run file: topics, and the msgpack map that each of their messages is.

Everything is stored as it came. Meaning (watts, host time of a board's tick) is put on at reading, so that a wrong gain or a
poor early clock fit is mended by reading again, not by measuring again. `log_time` of every message is `host_ns`.
"""

from __future__ import annotations

FORMAT_VERSION = 2
"""Raised whenever an old reader would misread a new file."""

PROFILE = "epi-run"

BOARD_KINDS = {
    "hello": "host_ns, payload: a HELLO as received",
    "sample": "host_ns, payload: a SAMPLE as received",
    "clock": "boot_id, nonce, t1_ns, t2_us, t3_us, t4_ns: one time exchange with the board",
    "log": "host_ns, level, text: a LOG, or text that stood between the frames",
}
NODE_KINDS = {
    "hello": "host_ns, body: a node's hello",
    "run": "host_ns, kind, body: run_begin and run_end as received",
    "spans": "host_ns, body: a batch of spans as received",
    "telemetry": "host_ns, body: one look at the node itself, as received",
    "clock": "session, nonce, t1_ns, t2_ns, t3_ns, t4_ns: one time exchange with the node",
}
DAEMON_KINDS = {"note": "host_ns, level, text: what the daemon saw: links lost and found, batches refused"}


def board_topic(board_id: str, kind: str) -> str:
    """Topic of one board's messages of one kind."""
    assert kind in BOARD_KINDS, kind
    return f"/board/{board_id}/{kind}"


def node_topic(node: str, kind: str) -> str:
    """Topic of one node's messages of one kind; a `/` in the node's name becomes `_`."""
    assert kind in NODE_KINDS, kind
    return f"/node/{node.replace('/', '_')}/{kind}"


NOTE_TOPIC = "/epid/note"


def split_topic(topic: str) -> tuple[str, str, str]:
    """Return (`board`|`node`|`epid`, name, kind) of a topic; three empty strings for a topic of another program."""
    parts = topic.split("/")
    if topic == NOTE_TOPIC:
        return "epid", "", "note"
    if len(parts) == 4 and parts[1] in ("board", "node"):
        return parts[1], parts[2], parts[3]
    return "", "", ""
