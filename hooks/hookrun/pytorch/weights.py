"""The files that a model's weights came from: found by the name the model gives itself, hashed where that is quick."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import HookrunError
from ..gguf_header import read_header
from ..llama.provenance import EVAL_SUFFIX, Parsed, provenance

QUICK_BYTES = 512 << 20
"""About a second on a Pi 5; hashing more would hold up the program's first call, where it would be noticed."""
_HASH = re.compile(r"[0-9a-f]{64}")


def weights_map(name: str) -> dict[str, Any]:
    """Return file, size and, where it is cheap, hash of a model's only weight file, and plan and evaluation beside it."""
    path = _only_file(name) if name else None
    if path is None:
        return {}
    try:
        digest = _sha256(path)
        found = {"file": path.name, "file_bytes": path.stat().st_size, "sha256": digest}
        return {key: value for key, value in found.items() if value is not None} | _provenance(path, digest)
    except (OSError, HookrunError):
        return {}  # a program may run a model whose files are gone by now


def _only_file(name: str) -> Path | None:
    """Return the one file of weights in the model's folder, or in the hub's cache of its repository."""
    folder = Path(name)
    if not folder.is_dir():
        cached = _cached(name)
        return cached if cached is not None and cached.is_file() else None
    for pattern in ("*.safetensors", "*.gguf"):
        files = sorted(folder.glob(pattern))
        if files:
            return files[0] if len(files) == 1 else None
    return None


def _cached(repository: str) -> Path | None:
    hub = sys.modules.get("huggingface_hub")
    if hub is None:
        return None
    try:
        path = hub.try_to_load_from_cache(repository, "model.safetensors")
    except ValueError:  # a name that is no repository's
        return None
    return Path(path) if isinstance(path, str) else None


def _sha256(path: Path) -> str | None:
    """The hub's cache names files by their hash; others are hashed if they are small enough."""
    named = path.resolve().name
    if _HASH.fullmatch(named):
        return named
    if path.stat().st_size > QUICK_BYTES:
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _provenance(path: Path, digest: str | None) -> dict[str, Any]:
    if path.suffix == ".gguf":
        return provenance(path, read_header(path), digest or "").to_map()
    found: dict[str, Any] = {}
    plan = _json(path.with_name("plan.json"))
    if plan is not None and plan.get("format") == "epi-surgery plan":
        found["plan"] = plan
    evaluation = _json(path.with_name(path.name + EVAL_SUFFIX))
    if evaluation is not None:
        found["eval_matches"] = evaluation.get("model", {}).get("sha256") == digest
        if found["eval_matches"]:
            found["eval"] = evaluation
    return found


def _json(path: Path) -> Parsed | None:
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return parsed if isinstance(parsed, dict) else None
