"""What `hookrun --` was asked for, on its way into the program's own process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

VARIABLE = "HOOKRUN_PROGRAM"
"""Environment variable that carries a ProgramSpec."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """Which layers run again: drawn by `seed`, each `times` times; with `halves`, every second one its attention half alone."""

    seed: int
    times: int = 1
    halves: bool = False


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """All paths are absolute. `pythonpath` is what the program itself would have found in PYTHONPATH.

    `load_pattern` is a seed and the seconds at each end of the run;
    `conditions` are the settings that came of what was done before the program started.
    """

    ledger: str
    label: str
    command: tuple[str, ...]
    daemon: str | None = None
    key: str | None = None
    node: str | None = None
    out: str | None = None
    detail: str = "halves"
    repetition: Repetition | None = None
    overhead_check: bool = False
    children: bool = False
    quiet: bool = False
    load_pattern: tuple[int, float] | None = None
    telemetry: bool = True
    conditions: dict[str, Any] = field(default_factory=dict)
    pythonpath: str | None = None

    def to_json(self) -> str:
        """Return the text for VARIABLE."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of VARIABLE."""
        values = json.loads(text)
        values["command"] = tuple(values["command"])
        if values["repetition"] is not None:
            values["repetition"] = Repetition(**values["repetition"])
        if values["load_pattern"] is not None:
            values["load_pattern"] = tuple(values["load_pattern"])
        return cls(**values)
