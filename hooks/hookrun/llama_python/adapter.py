"""llama_cpp as the program has imported it, with its contexts followed from their first computation on."""

from __future__ import annotations

import functools
import importlib
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from ..clock import node_ns
from ..errors import HookrunError
from ..llama.model import open_model
from ..program.generation import Generation
from ..program.patches import Patches
from ..program.recorder import Recorder
from ..program.requests import Requests
from ..program.spec import ProgramSpec
from ..sending.ring import SpanRing
from .follower import Follower

QUICK_BYTES = 512 << 20
"""Models up to this size are hashed: about a second on a Pi 5, once, in the program's first computation."""


class LlamaAdapter:
    """Replaces `decode` of the binding's contexts and `generate` of its models. All contexts of one model file make one run."""

    def __init__(self, llama_cpp: ModuleType, recorder: Recorder) -> None:
        self._c: Any = llama_cpp.llama_cpp
        self._version = f"llama-cpp-python {llama_cpp.__version__}"
        self._recorder = recorder
        self._requests: Requests | None = None
        self._ring: SpanRing | None = None
        self._file: Path | None = None
        self._without_attention: frozenset[int] = frozenset()
        self._met: weakref.WeakKeyDictionary[Any, Follower | None] = weakref.WeakKeyDictionary()
        self._patches = Patches()
        internals = importlib.import_module(f"{llama_cpp.__name__}._internals")
        self._patches.set(internals.LlamaContext, "decode", self._decode(internals.LlamaContext.decode))
        self._patches.set(llama_cpp.Llama, "generate", _marked(llama_cpp.Llama.generate, recorder.generation))

    @classmethod
    def attach(cls, llama_cpp: ModuleType, recorder: Recorder, _spec: ProgramSpec) -> Self:
        """Look for contexts from now on."""
        return cls(llama_cpp, recorder)

    def flush(self) -> None:
        """Write what is still held back."""
        if self._requests is not None:
            self._requests.close()

    def detach(self) -> None:
        """Put everything back, in the engine too."""
        self._patches.restore()
        for context, follower in self._met.items():
            if follower is not None and context.ctx is not None:
                follower.detach()
        self._met.clear()

    def generation_begins(self) -> None:
        """`generate` was called."""
        if self._requests is not None:
            self._requests.generation_begins()

    def generation_ends(self) -> None:
        """`generate` is over."""
        if self._requests is not None:
            self._requests.generation_ends(node_ns())

    def _decode(self, original: Any) -> Any:
        @functools.wraps(original)
        def decode(context: Any, batch: Any) -> Any:
            if context not in self._met:
                with self._recorder.meeting:  # another thread may have met it meanwhile
                    if context not in self._met:
                        self._met[context] = self._meet(context)
            follower, requests, ring = self._met[context], self._requests, self._ring
            if follower is None or requests is None or ring is None:
                return original(context, batch)
            return follower.decode(lambda: original(context, batch), batch.batch, requests, ring)

        return decode

    def _meet(self, context: Any) -> Follower | None:
        """Return what follows a context that computes for the first time; None where it is left alone."""
        voice, path = self._recorder.voice, Path(context.model.path_model).absolute()
        if path == self._file:
            return Follower(self._c, context, self._without_attention, voice.warn)
        if self._file is not None:
            self._recorder.open(self._version, path.name, lambda: ({}, {}))  # says that one model is all there is room for
            return None
        try:
            model = open_model(path, most_hashed_bytes=QUICK_BYTES)
        except HookrunError as error:
            voice.warn(f"{error} (the program goes on, unrecorded)")
            return None
        follower = Follower(self._c, context, model.without_attention, voice.warn)
        described = {key: value for key, value in model.to_map().items() if value != ""}
        ring = self._recorder.open(self._version, model.file, lambda: (self._settings(context, follower), described))
        if ring is None:
            follower.detach()
            return None
        self._ring, self._requests = ring, Requests(ring)
        self._file, self._without_attention = path, model.without_attention
        self._recorder.generation.tell(self)
        return follower

    def _settings(self, context: Any, follower: Follower) -> dict[str, Any]:
        """Return what has to be equal for two runs to be comparable."""
        return {
            "engine": self._version,
            "engine_system": self._c.llama_print_system_info().decode().strip(" |"),
            "threads": context.params.n_threads,
            "ctx": context.params.n_ctx,
            "stamps": {"mode": "abort", "by": follower.by, "calls_per_token": follower.calls_per_token},
        }


def _marked(original: Any, generation: Generation) -> Any:
    @functools.wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        generation.enter()
        try:
            return (yield from original(self, *args, **kwargs))
        finally:
            generation.leave()

    return generate
