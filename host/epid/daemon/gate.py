"""What is checked of a node's message before anything is done with it: a trusted node may be wrong, and must not cost memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgpack

from epi_protocol.errors import ProtocolError

MAX_SESSIONS = 256
MAX_RUNS = 64
MAX_NAME = 64
MAX_REASON = 300
"""Longest sentence that is sent back, or noted in a run file."""


def check_storable(kind: str, body: Mapping[str, Any]) -> None:
    """Raise ProtocolError where a message, wrapped as a run file wraps it, could not be read back: it nests too deeply."""
    try:
        msgpack.unpackb(msgpack.packb({"body": {"body": body}}))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"{kind} that cannot be stored: {str(error) or type(error).__name__}") from None


def check_run_begin(body: Mapping[str, Any]) -> None:
    """Raise ProtocolError where what a run_begin says of the run is no map: every reader of the file looks into it."""
    for key in ("settings", "model"):
        if not isinstance(body.get(key, {}), dict):
            raise ProtocolError(f"run_begin whose {key!r} is {type(body[key]).__name__}, expected a map")


def node_name(body: Mapping[str, Any]) -> str:
    """Return the name in a hello; ProtocolError where it is none that a person or a file could bear."""
    name = body.get("node")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ProtocolError(f"hello without a node name of 1 to {MAX_NAME} printable characters")
    return name


def run_id(body: Mapping[str, Any]) -> str:
    """Return the id of the run in a message; ProtocolError where a file could not be named after it."""
    run = text(body, "run")
    if not re.fullmatch(r"[0-9a-f]{8,32}", run):
        raise ProtocolError(f"run id {run!r} is not 8 to 32 hex digits")
    return run


def text(body: Mapping[str, Any], key: str, longest: int = MAX_REASON) -> str:
    """Return a text of a message, cut to `longest` characters; empty where there is none."""
    value = body.get(key)
    return value[:longest] if isinstance(value, str) else ""


def short(error: Exception) -> str:
    """A sentence of an error that may quote what a node sent."""
    sentence = str(error)
    return sentence if len(sentence) <= MAX_REASON else f"{sentence[:MAX_REASON]}…"
