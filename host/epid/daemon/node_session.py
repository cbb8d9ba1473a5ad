"""One node as the daemon sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pinger import Pinger

_NONCE_BYTES = 8


@dataclass
class NodeSession:
    """One connected node; `identity` is its socket's address on the ROUTER, `refused` its answers that nobody waited for."""

    identity: bytes
    node: str
    session: str
    host: str
    engine: str
    hello: dict[str, Any]
    heard_ns: int
    pinger: Pinger = field(default_factory=lambda: Pinger(_NONCE_BYTES))
    refused: int = 0
