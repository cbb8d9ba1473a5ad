"""Who may talk to the daemon over a network: a CURVE key pair for the daemon and one for each node (ZeroMQ RFC 25 and 26).

A folder holds them: `daemon.secret`, `daemon.public`, and `nodes/NAME.public`. A node's own secret is written once, into the
file that is carried to the node, and kept nowhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in `folder`."""

    folder: Path

    def daemon_pair(self) -> tuple[bytes, bytes]:
        """Return the daemon's (public, secret) key, made at the first call."""
        public, secret = self.folder / "daemon.public", self.folder / "daemon.secret"
        if not secret.exists():
            made_public, made_secret = zmq.curve_keypair()
            _write(secret, made_secret, secret=True)
            _write(public, made_public, secret=False)
        return _read(public), _read(secret)

    def new(self, node: str, out: Path) -> None:
        """Make a key for a node and write its key file to `out`; UsageError where the node has one already."""
        public = self._public_file(node)
        if public.exists():
            raise UsageError(f"node {node!r} has a key already; revoke it first, or give this node another name")
        if out.exists():
            raise UsageError(f"{out} exists already; name another file with --out")
        made_public, made_secret = zmq.curve_keypair()
        keys = {"public": made_public, "secret": made_secret, "daemon": self.daemon_pair()[0]}
        text = json.dumps({"node": node} | {name: key.decode() for name, key in keys.items()}, indent=1)
        _write(out, text.encode(), secret=True)
        _write(public, made_public, secret=False)

    def revoke(self, node: str) -> None:
        """Forget a node's key: it is refused from its next connection on."""
        public = self._public_file(node)
        if not public.exists():
            known = ", ".join(self.nodes().values()) or "none"
            raise UsageError(f"no key of a node {node!r} in {self.folder}; known are: {known}")
        public.unlink()

    def nodes(self) -> dict[bytes, str]:
        """Return public key → name of every node that may talk."""
        return {_read(path): path.stem for path in sorted((self.folder / "nodes").glob("*.public"))}

    def _public_file(self, node: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", node) or node.startswith("."):
            raise UsageError(f"{node!r} is no name for a key; use letters, digits, dots and dashes")
        return self.folder / "nodes" / f"{node}.public"


class Doorkeeper:
    """Asked by ZeroMQ at every handshake; reads the folder each time, so that a revoked key is refused at once."""

    def __init__(self, ring: KeyRing, say: Callable[[str], None]) -> None:
        self._ring, self._say = ring, say

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the peer with this public key (40 letters) may talk: a known node, or a person with the daemon's own keys."""
        if key in self._ring.nodes() or key == self._ring.daemon_pair()[0]:
            return True
        self._say(f"refused a node whose key {key.decode()[:12]}… is not known; `epid keys new` makes one")
        return False


def _write(path: Path, data: bytes, *, secret: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data + b"\n")
    except OSError as error:
        raise UsageError(f"cannot write the key file {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
        z85.decode(key)
    except OSError as error:
        raise UsageError(f"cannot read the key file {path}: {error.strerror}") from error
    except (ValueError, IndexError, KeyError) as error:
        raise UsageError(f"{path} holds no key; remove it and make a new one") from error
    if len(key) != 40:
        raise UsageError(f"{path} holds no key; remove it and make a new one")
    return key
