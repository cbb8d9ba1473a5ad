"""The key file that `epid keys new` makes for a node: it opens the daemon's door over a network (ZeroMQ CURVE)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import HookrunError


@dataclass(frozen=True, slots=True)
class NodeKey:
    """This node's key pair and the daemon's public key, 40 letters each (Z85, ZeroMQ RFC 32)."""

    public: bytes
    secret: bytes
    daemon: bytes


def read_node_key(path: Path) -> NodeKey:
    """Return the keys in a file; HookrunError where there are none."""
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        keys = [found[name].encode("ascii") for name in ("public", "secret", "daemon")]
    except OSError as error:
        raise HookrunError(f"cannot read the key file {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HookrunError(f"{path} is no key file; `epid keys new NODE` makes one on the daemon's machine") from None
    if any(len(key) != 40 for key in keys):
        raise HookrunError(f"{path} is no key file; `epid keys new NODE` makes one on the daemon's machine")
    return NodeKey(*keys)
