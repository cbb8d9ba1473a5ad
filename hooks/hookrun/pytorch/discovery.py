"""Finds models as they are first called: whatever module is called, the first instance of each class is looked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..program.patches import Patches
from .anatomy import Decoder
from .calls import Call, looking_call
from .surface import Surface


class Discovery:
    """Stands in for `torch.nn.Module.__call__`; classes of a model's parts get torch's own call back."""

    def __init__(self, surface: Surface, find: Callable[[Any], Decoder | None], model_call: Callable[[Call], Call]) -> None:
        self._surface, self._find, self._model_call = surface, find, model_call
        self._judged: set[type] = set()
        self.patches = Patches()
        base = surface.call
        self._look = looking_call(base, self._judged, self._judge, surface.tracing, own=surface.is_own(base))
        self.patches.set(surface.module, "__call__", self._look)

    def original(self, cls: type) -> Call:
        """Return the `__call__` that a class had before all this."""
        call: Any = cls.__call__
        return self._surface.call if call is self._look else call

    def detach(self) -> None:
        """Put everything back."""
        self.patches.restore()

    def _judge(self, module: Any) -> Call:
        """Look at the first called instance of a class, and return what to call."""
        cls = type(module)
        self._judged.add(cls)
        if self._find(module) is None:
            return self._surface.call
        self._pass_over(module)
        self.patches.set(cls, "__call__", self._model_call(self.original(cls)))
        # A class with a __call__ of its own is inside it right now: what remains to be called is torch's.
        return self._model_call(self._surface.call)

    def _pass_over(self, model: Any) -> None:
        """Let the classes of a model's parts be called as ever, except those that hold models themselves."""
        parts = {type(part): part for part in model.modules() if part is not model}
        for cls, part in parts.items():
            if cls in self._judged or self._find(part) is not None:
                continue
            self._judged.add(cls)
            if cls.__call__ is self._look:
                self.patches.set(cls, "__call__", self._surface.call)
