"""`generate` of transformers marks where a request begins and ends."""

from __future__ import annotations

import functools
from typing import Any

from ..program.generation import Generation
from ..program.patches import Patches
from ..program.recorder import Recorder


class GenerateWatch:
    """Replaces `generate` of the class that all of transformers' generating models inherit from."""

    def __init__(self, mixin: type, generation: Generation) -> None:
        self._patches = Patches()
        self._patches.set(mixin, "generate", _marked(mixin.generate, generation))  # type: ignore[attr-defined]

    def flush(self) -> None:
        """Nothing is held back here."""

    def detach(self) -> None:
        """Put the original back."""
        self._patches.restore()


def _marked(original: Any, generation: Generation) -> Any:
    @functools.wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        generation.enter()
        try:
            return original(self, *args, **kwargs)
        finally:
            generation.leave()

    return generate


def watch_generate(mixin: type, recorder: Recorder) -> GenerateWatch:
    """Mark the requests of `mixin.generate` from now on."""
    return GenerateWatch(mixin, recorder.generation)
