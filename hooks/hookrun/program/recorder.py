"""The run that the program's first model opens, and its end. Nothing is connected or allocated before."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import __version__
from ..errors import HookrunError
from .generation import Generation
from .ledger import Ledger
from .spec import ProgramSpec
from .voice import Voice

if TYPE_CHECKING:
    from ..sending.recording import Outcome, Recording
    from ..sending.ring import SpanRing


class Attached(Protocol):
    """Something an adapter has attached to the program."""

    def flush(self) -> None:
        """Write what is still held back."""

    def detach(self) -> None:
        """Put back everything that was touched."""


Describe = Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Returns an adapter's settings and its `model` map; asked only if the run can begin."""


class Opener(Protocol):
    """What an adapter needs of a Recorder."""

    voice: Voice
    generation: Generation
    meeting: threading.RLock
    """Held while an adapter gets to know a model: another thread that calls it for the first time waits until it is known."""

    def open(self, engine: str, label: str, describe: Describe) -> SpanRing | None: ...


class Recorder:
    """One run per process: the first model that is called opens it, and models called later are left alone."""

    def __init__(self, spec: ProgramSpec, ledger: Ledger, voice: Voice) -> None:
        self.voice, self.generation, self.meeting = voice, Generation(), threading.RLock()
        self._spec, self._ledger = spec, ledger
        self._attached: list[Attached] = []
        self._recording: Recording | None = None
        self._around = ExitStack()
        self._status = "complete"
        self._over = False
        ledger.arm(os.getpid())

    def adopt(self, attached: Attached) -> None:
        """Remember what has to be detached at the end."""
        self._attached.append(attached)

    def open(self, engine: str, label: str, describe: Describe) -> SpanRing | None:
        """Begin the run and return its ring; None where this process may not record, which has then been said."""
        if self._recording is not None:
            self.voice.warn(f"a second model is called ({label}); a run records one model, so it is left out")
        if self._over or self._recording is not None:
            return None
        pid = os.getpid()
        if not self._ledger.claim(pid) and not self._spec.children:
            self._over = True
            self.voice.warn(f"process {pid} calls a model too, which is not recorded; --children records each process as a run")
            return None
        try:
            return self._open(engine, label, *describe())
        except HookrunError as error:
            self._over = True
            self.voice.warn(f"{error} (the program goes on, unrecorded)")
            return None

    def failed(self) -> None:
        """The program ends by an exception: the run is not what it was meant to be."""
        self._status = "aborted"

    def abandon(self) -> None:
        """Let go of everything without ending the run: it belongs to the process this one was copied from."""
        self._over, self._recording, self._around = True, None, ExitStack()
        self._detach()

    def finish(self, status: str) -> None:
        """Detach, write what is left, end the run and say what came of it. Further calls do nothing."""
        recording, over = self._recording, self._over
        self._over, self._recording = True, None
        if not over:
            for attached in self._attached:
                attached.flush()
        self._detach()
        if recording is not None:
            self._around.close()
            outcome = recording.end(self._status if status == "complete" else status)
            self._ledger.closed(os.getpid())
            self._tell(outcome)
        elif not over:
            self.voice.warn("nothing was recorded: this program has called no model that hookrun knows how to follow")

    def _open(self, engine: str, label: str, settings: Mapping[str, Any], model: Mapping[str, Any]) -> SpanRing:
        from ..sending.node_key import read_node_key
        from ..sending.recording import Recording
        from .surroundings import surroundings

        spec = self._spec
        out = self._out()
        recording = Recording(
            engine=engine,
            node=spec.node,
            daemon=spec.daemon,
            out=out,
            key=None if spec.key is None else read_node_key(Path(spec.key)),
        )
        run = recording.begin(spec.label or label, {**self._settings(), **spec.conditions, **settings}, model)
        self._ledger.opened(os.getpid(), {"run": run, "out": None if out is None else str(out), "daemon": spec.daemon})
        self._recording = recording
        self._around.enter_context(surroundings(spec).around(recording))
        return recording.ring

    def _out(self) -> Path | None:
        """With --children each process but the first has a file of its own."""
        if self._spec.out is None:
            return None
        path = Path(self._spec.out)
        first = (self._ledger.folder / "claim").read_text() == str(os.getpid())
        return path if first else path.with_name(f"{path.stem}-{os.getpid()}{path.suffix}")

    def _settings(self) -> dict[str, Any]:
        return {
            "program": f"hookrun {__version__} -- {' '.join(self._spec.command)}",
            "python": sys.version.split()[0],
            "detail": self._spec.detail,
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "the engine's own"),
            "cores": os.cpu_count(),
        }

    def _detach(self) -> None:
        while self._attached:
            self._attached.pop().detach()

    def _tell(self, outcome: Outcome) -> None:
        for problem in outcome.problems:
            self.voice.warn(problem)
        places = [place for place in (outcome.daemon_path, outcome.file_path) if place]
        where = f", recorded in {' and '.join(places)}" if places else ", not recorded"
        arrival = "" if outcome.arrival is None else f"; {outcome.arrival.sentence()}"
        ended = "" if outcome.status == "complete" else f" ({outcome.status})"
        self.voice.tell(f"{outcome.spans} spans, {outcome.dropped} lost{where}{ended}{arrival}")
