"""Carries out a repetition in the middle of a computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from .calls import Call, Live
from .repetition import CannotRepeat, check_repeatable, snapshot
from .stamps import REPEATED, attention_end, layer_end, repeat_end


class Repeater:
    """Stands behind `Live.repeat`. After the first refusal nothing is repeated any more, and `refuse` has heard why.

    With `halves` the spans of a repetition are those of the layer's halves, and it may end behind the first.
    """

    def __init__(self, live: Live, times: int, refuse: Callable[[str], None], *, halves: bool = False) -> None:
        self._live, self._times, self._refuse, self._halves = live, times, refuse, halves
        self._refused = False

    def __call__(self, original: Call, module: Any, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute a layer as the program asked for it, then again, and return the first result."""
        try:
            back = self._checked(module, layer, kwargs)
        except CannotRepeat as reason:
            self._give_up(str(reason))
            back = None
        result = original(module, *args, **kwargs)
        self._live.stamp(layer_end(layer))
        if back is not None:
            self._again(back, snapshot(module, layer, kwargs), lambda: original(module, *args, **kwargs), layer)
        return result

    def _checked(self, module: Any, layer: int, kwargs: dict[str, Any]) -> Callable[[], None] | None:
        if self._refused:
            return None
        check_repeatable(module, halves=self._halves)
        return snapshot(module, layer, kwargs)

    def _again(self, back: Callable[[], None], forth: Callable[[], None], compute: Callable[[], Any], layer: int) -> None:
        """Nothing inside a repetition is stamped but its half, and its failure must not be the program's."""
        live = self._live
        layers, halves = live.layers, live.halves
        second = {key: number + REPEATED for key, number in halves.items() if number == layer} if self._halves else {}
        if live.alone and not second:
            return  # a layer without attention has no half to repeat alone
        live.layers, live.halves = {}, second
        try:
            for _ in range(self._times):
                back()
                if live.alone:
                    self._first_half(compute, layer)
                else:
                    compute()
                    live.stamp(layer_end(layer + REPEATED) if self._halves else repeat_end(layer))
        except Exception as error:  # noqa: BLE001  whatever it is (memory, most likely), the program would not have met it
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            forth()
            live.layers, live.halves = layers, halves

    def _first_half(self, compute: Callable[[], Any], layer: int) -> None:
        """Compute until the second half asks for its stamp; the time is taken there, as it is for every attention half."""
        live, now = self._live, self._live.now
        live.now = lambda: _stop(now())
        try:
            compute()
        except _Reached as reached:
            live.times.append(reached.time)
            live.marks.append(attention_end(layer + REPEATED))
        finally:
            live.now = now

    def _give_up(self, reason: str) -> None:
        self._refused = True
        self._refuse(f"layers are not repeated any more: {reason}")


class _Reached(BaseException):
    """The end of the first half has been reached, at `time`; no error, so nobody who handles errors is to see it."""

    def __init__(self, time: Any) -> None:
        super().__init__()
        self.time = time


def _stop(time: Any) -> NoReturn:
    raise _Reached(time)
