"""Runs a piece of a program under the adapters, in this process, and returns what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack

from epi_protocol.events import KIND_NAME, span_batch
from hookrun.program.ledger import Ledger
from hookrun.program.recorder import Recorder
from hookrun.program.spec import ProgramSpec
from hookrun.program.voice import Voice


class Ear(Voice):
    """Keeps what would be said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def _say(self, line: str) -> None:
        self.said.append(line)


@dataclass
class Run:
    """What an event file holds, spans with their kind by name."""

    begin: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    looks: int = 0

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] in kinds]


def read_run(path: Path) -> Run:
    run = Run()
    with path.open("rb") as file:
        for kind, body in msgpack.Unpacker(file):
            if kind == "run_begin":
                run.begin = body
            elif kind == "run_end":
                run.end = body
            elif kind == "telemetry":
                run.looks += 1
            elif kind == "spans":
                run.rows += [{**row, "kind": KIND_NAME[row["kind"]]} for row in span_batch(body).rows()]
    return run


Attach = Callable[[Recorder, ProgramSpec], list[Any]]


@contextmanager
def following(folder: Path, attach: Attach, **asked: Any) -> Iterator[Run]:
    """Follow what happens inside the block; the run yielded is filled when the block is over."""
    out = folder / "run.events"
    spec = ProgramSpec(ledger=str(folder), label="", command=("test",), out=str(out), **asked)
    ear, run = Ear(), Run()
    recorder = Recorder(spec, Ledger.of(spec), ear)
    for attached in attach(recorder, spec):
        recorder.adopt(attached)
    try:
        yield run
    finally:
        recorder.finish("complete")
        if out.exists():
            vars(run).update(vars(read_run(out)))
        run.said = ear.said


def torch_adapters(torch: ModuleType) -> Attach:
    def attach(recorder: Recorder, spec: ProgramSpec) -> list[Any]:
        from transformers.generation import utils

        from hookrun.pytorch.adapter import TorchAdapter
        from hookrun.pytorch.generation import watch_generate

        return [TorchAdapter.attach(torch, recorder, spec), watch_generate(utils.GenerationMixin, recorder)]

    return attach
