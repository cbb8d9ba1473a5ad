"""From a path to a loaded engine: what has to be right before, and what is worth a warning."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HookrunError
from .remote import INSECURE, check_servers

if TYPE_CHECKING:
    from .engine import Engine

WAIT_POLICY = "OMP_WAIT_POLICY"


def set_wait_policy() -> str:
    """Let the engine's threads sleep where they wait, unless the user decided otherwise; return what it is now, and by whom.

    Must come before the engine is loaded. A spinning thread draws the power of a working one.
    """
    if WAIT_POLICY in os.environ:
        return f"{os.environ[WAIT_POLICY]} (by the user)"
    os.environ[WAIT_POLICY] = "PASSIVE"
    return "PASSIVE (by hookrun)"


def engine_version() -> str:
    """Return the engine's name and version without loading it."""
    try:
        return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}"
    except importlib.metadata.PackageNotFoundError:
        raise HookrunError("llama-cpp-python is not installed; install it with `pip install 'hookrun[llama]'`") from None


def load_engine(
    path: Path, repack: str, go_on: Callable[[], bool] = lambda: True, servers: Sequence[str] = ()
) -> tuple[Engine, list[str]]:
    """Return the engine with the model loaded, and what is unusual about it.

    `repack` is auto, on or off; a `go_on` that returns False ends the loading; `servers` are endpoints of rpc-servers.
    """
    from .engine import Engine, EngineLog

    check_servers(servers)
    engine = Engine(path, EngineLog(), repack={"on": True, "off": False}.get(repack), servers=servers, go_on=go_on)
    warnings = [INSECURE] if servers else []
    if repack == "auto" and not engine.repack:
        warnings.append(
            "this engine was built for AMX, whose kernels GCC 12 breaks, so weights are not repacked and run slower; "
            "build it with -mno-amx-tile -mno-amx-int8, or insist with --repack on"
        )
    return engine, warnings
