"""Carries out a repetition in the middle of a computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Call, Live
from .repetition import CannotRepeat, check_repeatable, snapshot
from .stamps import layer_end, repeat_end


class Repeater:
    """Stands behind `Live.repeat`. After the first refusal nothing is repeated any more, and `refuse` has heard why."""

    def __init__(self, live: Live, times: int, refuse: Callable[[str], None]) -> None:
        self._live, self._times, self._refuse = live, times, refuse
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
        check_repeatable(module)
        return snapshot(module, layer, kwargs)

    def _again(self, back: Callable[[], None], forth: Callable[[], None], compute: Callable[[], Any], layer: int) -> None:
        """Nothing inside a repetition is stamped, and its failure must not be the program's."""
        live = self._live
        layers, halves, live.layers, live.halves = live.layers, live.halves, {}, {}
        try:
            for _ in range(self._times):
                back()
                compute()
                live.stamp(repeat_end(layer))
        except Exception as error:  # noqa: BLE001  whatever it is (memory, most likely), the program would not have met it
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            forth()
            live.layers, live.halves = layers, halves

    def _give_up(self, reason: str) -> None:
        self._refused = True
        self._refuse(f"layers are not repeated any more: {reason}")
