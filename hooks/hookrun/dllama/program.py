"""distributed-llama as it is going to be run: the user's command, its model checked, its shim and what that writes into."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from .. import __version__
from ..clock import node_ns
from ..errors import HookrunError
from ..interruption import Interruption
from ..sending.ring import SpanRing
from .child import Child
from .feed import Feed
from .invocation import Invocation
from .model_file import read_model_file
from .session import Ended, ProgramRun
from .shapes import check_shapes
from .shim import environment, line_buffered
from .step_times import StepTimes
from .steps import step_plan
from .watchdog import Watchdog


class Program:
    """Raises HookrunError where the model cannot run so. A context manager that frees the shim's shared memory."""

    def __init__(self, invocation: Invocation, shim: Path | None, patience_s: float) -> None:
        self.invocation, self.shim = invocation, shim
        self._model = None if invocation.model is None else read_model_file(invocation.model)
        if self._model is not None and not invocation.is_worker:
            check_shapes(self._model, invocation.nodes)
        self._plan = None if self._model is None else step_plan(self._model, invocation.nodes)
        self._patience_s = patience_s
        self.times: StepTimes | None = None
        """Filled by the runs to come, once it is set."""
        self.feed: Feed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._free()

    @property
    def label(self) -> str:
        """Return what a run is called unless the user has a name for it."""
        return self.invocation.mode if self._model is None else self._model.path.name

    def model_map(self) -> dict[str, Any]:
        """Return the `model` map of a run; a worker is told its model by the root, so it knows none."""
        return {} if self._model is None else self._model.to_map()

    def collect_times(self) -> None:
        """Have the times of each operation added up; HookrunError where they cannot be known."""
        if self.shim is None or self._plan is None or self.invocation.is_worker:
            raise HookrunError(
                "--operations needs a root, its shim, and a dense LLAMA or Qwen 3 model: others' steps are not known"
            )
        self.times = StepTimes(self._plan)

    def settings(self) -> dict[str, Any]:
        """Return what has to be equal for two runs to be comparable."""
        invocation = self.invocation
        return {
            "program": f"hookrun dllama {__version__}",
            "engine": "distributed-llama",
            "mode": invocation.mode,
            "arguments": list(invocation.command[1:]),
            "level": 1 if self.shim is None else 2,
            "nodes": None if invocation.is_worker else invocation.nodes,
            "threads": invocation.threads,
            "steps": invocation.steps,
            "cores": os.cpu_count(),
        }

    def new_run(self, ring: SpanRing, *, shimmed: bool = True) -> ProgramRun:
        """Return a run that has not begun, with shared memory of its own."""
        self._free()
        self.feed = Feed() if shimmed and self.shim is not None else None
        return ProgramRun(
            ring,
            self.feed,
            prompt=self.invocation.prompt,
            plan=self._plan,
            is_worker=self.invocation.is_worker,
            watchdog=Watchdog(self._patience_s),
            clock=node_ns,
            times=self.times,
        )

    def follow(self, run: ProgramRun, interruption: Interruption, stream: BinaryIO | None) -> Ended:
        """Start the program, pass its output on to `stream`, and return when it has ended; Interrupted after a signal."""
        inherited = dict(os.environ)
        if self.shim is not None and self.feed is not None:
            child = Child(self.invocation.command, environment(self.shim, self.feed.path, inherited), node_ns)
        else:
            child = Child(line_buffered(self.invocation.command), inherited, node_ns)

        def pass_on(data: bytes) -> None:
            if stream is not None:
                stream.write(data)
                stream.flush()

        try:
            return run.follow(child, pass_on, interruption)
        finally:
            child.stop()

    def _free(self) -> None:
        if self.feed is not None:
            self.feed.close()
            self.feed = None
