"""A run that is kept in an event file, read for the daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epi_protocol import events

from ..errors import HookrunError
from .eventfile import FORMAT, boot_id, messages


@dataclass(frozen=True, slots=True)
class KeptRun:
    """How a file begins and ends; what lies between is read when it is needed."""

    path: Path
    hello: Mapping[str, Any]
    run_begin: Mapping[str, Any]
    run_end: Mapping[str, Any]

    def between(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (kind, body) of spans and telemetry, in order."""
        with self.path.open("rb") as file:
            for kind, body, _behind in messages(file):
                if kind in ("spans", "telemetry"):
                    yield kind, body

    @property
    def hello_frames(self) -> list[bytes]:
        """Return the node's introduction as it was: the same session, for it is the same clock."""
        return events.pack("hello", self.hello)


def read_kept_run(path: Path, boot: str | None = None) -> KeptRun:
    """Read a file whole; HookrunError where it is none, was cut off, or was written in another `boot` than this one."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with path.open("rb") as file:
            for kind, body, _behind in messages(file):
                found.setdefault(kind, body)
    except OSError as error:
        raise HookrunError(f"cannot read {path}: {error.strerror or error}") from None
    header = found.get("events", {})
    if header.get("format") != FORMAT or "hello" not in found or "run_begin" not in found:
        raise HookrunError(f"{path} is no event file of hookrun; --out writes them, and a run that lost its daemon leaves one")
    if "run_end" not in found:
        raise HookrunError(f"{path} is cut off: its run has no end; is the run still going on?")
    if header.get("boot") != (boot_id() if boot is None else boot):
        raise HookrunError(
            f"{path} was written on another machine or before this one was restarted, and its clock cannot be compared any more; "
            "it can still be read where it is"
        )
    return KeptRun(path, found["hello"], found["run_begin"], found["run_end"])
