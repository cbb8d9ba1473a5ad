"""What stands in for `__call__` of a model's classes while it is measured. The hot path: every instruction counts here.

Classes are changed and not objects, so that a model can be copied, pickled and compiled as ever. Passing arguments on costs more
than all the rest, so a call of ours does not stand before torch's own `Module.__call__` but in its place, and goes on where that
one would have gone (`_call_impl`). Compiled code never sees any of it: `tracing` is a question that torch's tracer answers with
a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .stamps import EMBEDDING_END

Call = Callable[..., Any]


class Live:
    """The computation under way: what its layers are called by (`id` of a module), and the stamps so far. Empty while none is.

    `chosen` is the layer that is to be repeated, `alone` whether no more than its attention half is.
    """

    __slots__ = ("alone", "chosen", "halves", "layers", "marks", "now", "repeat", "times")

    def __init__(self) -> None:
        self.layers: Mapping[int, int] = {}
        self.halves: Mapping[int, int] = {}
        self.marks: list[int] = []
        self.times: list[Any] = []
        self.now: Callable[[], Any] = int
        self.chosen, self.alone = -1, False
        self.repeat: Callable[[Call, Any, int, tuple[Any, ...], dict[str, Any]], Any] = _never

    def stamp(self, mark: int) -> None:
        """Note that a boundary has been passed."""
        self.times.append(self.now())
        self.marks.append(mark)


class Computation(Protocol):
    """Follows one computation of a whole model."""

    def end(self) -> None: ...
    def abandon(self) -> None: ...


def model_call(
    original: Call, enter: Callable[[Any, tuple[Any, ...], dict[str, Any]], Computation | None], tracing: Call
) -> Call:
    """Return a `__call__` for models: one computation, followed from its begin to its end."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        computation = None if tracing() else enter(self, args, kwargs)
        if computation is None:
            return original(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException:
            computation.abandon()
            raise
        computation.end()
        return result

    return __call__


def layer_call(original: Call, live: Live, tracing: Call, *, own: bool) -> Call:
    """Return a `__call__` for decoder layers: stamps the end, and before the first layer the end of the embedding.

    `own` says that `original` is torch's own call, whose place is taken.
    """

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        layer = None if tracing() else live.layers.get(id(self))
        if layer is None:
            return original(self, *args, **kwargs)
        if not live.marks:
            live.stamp(EMBEDDING_END)
        if layer == live.chosen:
            return live.repeat(original, self, layer, args, kwargs)
        direct = own and self._compiled_call_impl is None
        result = self._call_impl(*args, **kwargs) if direct else original(self, *args, **kwargs)
        live.times.append(live.now())
        live.marks.append(2 * layer + 1)
        return result

    return __call__


def half_call(original: Call, live: Live, tracing: Call, *, own: bool) -> Call:
    """Return a `__call__` for the first module of a feed-forward half: stamps the end of the attention half before it."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tracing():
            layer = live.halves.get(id(self))
            if layer is not None:
                live.times.append(live.now())
                live.marks.append(2 * layer)
        if own and self._compiled_call_impl is None:
            return self._call_impl(*args, **kwargs)
        return original(self, *args, **kwargs)

    return __call__


def looking_call(original: Call, judged: set[type], judge: Callable[[Any], Call], tracing: Call, *, own: bool) -> Call:
    """Return a `__call__` for all modules: the first instance of each class is handed to `judge`, which says what to call."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not tracing() and type(self) not in judged:
            return judge(self)(self, *args, **kwargs)
        if own and self._compiled_call_impl is None:
            return self._call_impl(*args, **kwargs)
        return original(self, *args, **kwargs)

    return __call__


def _never(*_arguments: Any) -> Any:
    raise AssertionError("no layer is drawn where none is to be repeated")
