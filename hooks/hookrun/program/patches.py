"""Attributes of other people's classes and modules, replaced for a while and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Patch:
    """`own` tells whether the owner had the attribute itself; else it was inherited, and `before` means nothing."""

    owner: Any
    name: str
    value: Any
    own: bool
    before: Any


class Patches:
    """Remembers what stood where. An attribute that was inherited is inherited again after `restore`."""

    def __init__(self) -> None:
        self._done: list[_Patch] = []
        self._suspended: list[_Patch] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace one attribute of a class or module."""
        own = name in vars(owner)
        self._done.append(_Patch(owner, name, value, own, vars(owner).get(name)))
        setattr(owner, name, value)

    def restore(self) -> None:
        """Put everything back, last first; what someone else has replaced since stays theirs."""
        while self._done:
            patch = self._done.pop()
            if vars(patch.owner).get(patch.name) is not patch.value:
                continue
            if patch.own:
                setattr(patch.owner, patch.name, patch.before)
            else:
                delattr(patch.owner, patch.name)

    def suspend(self) -> None:
        """Put everything back until `resume`."""
        self._suspended = list(self._done)
        self.restore()

    def resume(self) -> None:
        """Replace again what was suspended."""
        suspended, self._suspended = self._suspended, []
        for patch in suspended:
            self.set(patch.owner, patch.name, patch.value)
