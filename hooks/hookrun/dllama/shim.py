"""Finds the preloaded shim: compiled at install, or now where a C compiler is at hand."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .feed import VARIABLE

SOURCE = Path(__file__).with_name("_shim.c")


def find_shim(folder: Path) -> Path | None:
    """Return the compiled shim, made in `folder` if need be; None without it and without a compiler that makes it."""
    return _installed() or _compiled(folder)


def environment(shim: Path, feed: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that loads the shim first and writes into `feed`."""
    preload = " ".join(filter(None, [str(shim), inherited.get("LD_PRELOAD", "")]))
    return {**inherited, "LD_PRELOAD": preload, VARIABLE: str(feed)}


def line_buffered(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command whose output comes line by line without the shim, where coreutils' stdbuf is found."""
    stdbuf = shutil.which("stdbuf")
    return command if stdbuf is None else (stdbuf, "-oL", *command)


def _installed() -> Path | None:
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = SOURCE.with_name("_shim" + suffix)
        if path.is_file():
            return path
    return None


def _compiled(folder: Path) -> Path | None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not SOURCE.is_file():
        return None
    out = folder / "hookrun-dllama-shim.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(out), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, check=False)
    return out if done.returncode == 0 else None
