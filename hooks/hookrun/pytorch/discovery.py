"""Finds models as they are first called: whatever module is called, the first instance of each class is looked at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..program.patches import Patches
from .anatomy import Decoder
from .calls import Call


class Discovery:
    """Stands in for `torch.nn.Module.__call__`. Classes without submodules get torch's own call back, and cost nothing more."""

    def __init__(
        self,
        module_class: type,
        compiling: Call,
        find: Callable[[Any], Decoder | None],
        model_call: Callable[[Call], Call],
    ) -> None:
        self.base: Call = module_class.__call__
        self._compiling, self._find, self._model_call = compiling, find, model_call
        self._judged: set[type] = set()
        self.patches = Patches()
        self.look = self._looking()
        self.patches.set(module_class, "__call__", self.look)

    def original(self, cls: type) -> Call:
        """Return the `__call__` that a class had before all this."""
        call: Any = cls.__call__
        return self.base if call is self.look else call

    def detach(self) -> None:
        """Put everything back."""
        self.patches.restore()

    def _looking(self) -> Call:
        judged, base, compiling = self._judged, self.base, self._compiling

        def __call__(module: Any, *args: Any, **kwargs: Any) -> Any:
            if compiling() or type(module) in judged:
                return base(module, *args, **kwargs)
            return self._judge(module)(module, *args, **kwargs)

        return __call__

    def _judge(self, module: Any) -> Call:
        """Look at the first called instance of a class, and return what to call."""
        cls = type(module)
        self._judged.add(cls)
        if self._find(module) is not None:
            self.patches.set(cls, "__call__", self._model_call(self.original(cls)))
            # A class with a __call__ of its own is inside it right now: what remains to be called is torch's.
            return self._model_call(self.base)
        if not module._modules and cls.__call__ is self.look:
            self.patches.set(cls, "__call__", self.base)
        return self.base
