"""Prints SPEC.md's byte tables from the tables that the code runs on: `python -m epi_protocol.spec`. CPython only.

SPEC.md keeps hand-written prose around the generated part; a test fails where the two have come apart.
"""

from __future__ import annotations

import struct
import sys
from array import array
from pathlib import Path

from . import PROTOCOL_VERSION, events, frame, messages

BEGIN = "<!-- generated from the source by `python -m epi_protocol.spec SPEC.md`; edit the tables there -->"
END = "<!-- end of the generated part -->"

_MESSAGES = (
    ("HELLO", "board → host", messages.HELLO_FIELDS),
    ("SAMPLE", "board → host", messages.SAMPLE_FIELDS),
    ("channel block of SAMPLE", "", messages.CHANNEL_FIELDS),
    ("PONG", "board → host", messages.PONG_FIELDS),
    ("LOG", "board → host", messages.LOG_FIELDS),
    ("PING", "host → board", messages.PING_FIELDS),
    ("REPL", "host → board", messages.REPL_FIELDS),
)

_BOOT = bytes.fromhex("0badcafe")
_NONCE = bytes.fromhex("01020304")

GOLDEN = (
    ("HELLO", "frame", messages.pack_hello(_BOOT, {"board_id": "e660"})),
    ("PONG", "frame", struct.pack("<B4s4sQQ", messages.PONG, _BOOT, _NONCE, 1_000_000, 1_000_250)),
    ("LOG", "frame", messages.pack_log(_BOOT, 1, "chip 2 is absent")),
    ("PING", "command", messages.pack_ping(_NONCE)),
    ("REPL", "command", messages.pack_repl()),
)
"""(message, how it travels, payload): written out byte by byte in SPEC.md."""


def generated() -> str:
    """Return the generated part of SPEC.md."""
    parts = [f"Protocol version: **{PROTOCOL_VERSION}**", "", "## Messages of the board"]
    for name, direction, fields in _MESSAGES:
        parts += ["", f"### {name}{', ' + direction if direction else ''}, {messages.size_of(fields)} bytes", ""]
        parts += _field_table(fields)
    parts += ["", "### Flags of a channel", "", "| bit | name | meaning |", "|---|---|---|"]
    parts += [f"| {bit} | {name} | {meaning} |" for name, bit, meaning in messages.FLAGS]
    parts += ["", "### Golden vectors", "", "| message | payload | on the wire |", "|---|---|---|"]
    parts += [f"| {name} | `{payload.hex()}` | `{_wire(how, payload)}` |" for name, how, payload in GOLDEN]
    parts += ["", "## Messages of the nodes", "", *_kinds("node → daemon", events.NODE_KINDS), ""]
    parts += [
        *_kinds("daemon → node", events.DAEMON_KINDS),
        "",
        f"### Columns of a span batch, {events.SPAN_BYTES} bytes a span",
        "",
    ]
    parts += ["| column | bytes | meaning |", "|---|---|---|"]
    parts += [f"| {name} | {array(code).itemsize} | {meaning} |" for name, code, meaning in events.COLUMNS]
    parts += ["", "### Kinds of spans", "", "| number | name | meaning |", "|---|---|---|"]
    parts += [f"| {events.KIND[name]} | {name} | {meaning} |" for name, meaning in events.KINDS]
    return "\n".join(parts) + "\n"


def update(text: str) -> str:
    """Return SPEC.md's `text` with its generated part made anew."""
    before, _, rest = text.partition(BEGIN)
    _old, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{generated()}\n{END}{after}"


def _field_table(fields: tuple[tuple[str, str, str], ...]) -> list[str]:
    rows = ["| offset | bytes | field | type | meaning |", "|---|---|---|---|---|"]
    for name, kind, meaning in fields:
        size = messages.size_of(((name, kind, meaning),))
        rows.append(f"| {messages.offset_of(fields, name)} | {size} | {name} | {kind} | {meaning} |")
    return rows


def _wire(how: str, payload: bytes) -> str:
    return frame.encode(payload).hex() if how == "frame" else repr(frame.encode_command(payload).decode())[1:-1]


def _kinds(direction: str, kinds: dict[str, str]) -> list[str]:
    rows = [f"### {direction}", "", "| kind | body |", "|---|---|"]
    return rows + [f"| {kind} | {body} |" for kind, body in kinds.items()]


def main() -> None:
    """Rewrite the generated part of the file that is named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m epi_protocol.spec protocol/SPEC.md")
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
