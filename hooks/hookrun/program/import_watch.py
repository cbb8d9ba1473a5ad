"""Calls back right after a module has been imported by the program, and is otherwise not there."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

Callback = Callable[[ModuleType], None]


class ImportWatch(importlib.abc.MetaPathFinder):
    """A finder that finds nothing itself: for the modules waited for, it asks the others and follows the loading."""

    def __init__(self, callbacks: dict[str, Callback]) -> None:
        self._callbacks = dict(callbacks)
        self._asking: set[str] = set()

    def install(self) -> None:
        """Wait from now on; what is loaded already is told at once."""
        for name in [name for name in self._callbacks if name in sys.modules]:
            self._callbacks.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that the others find, with a loader that reports, or None for any module not waited for."""
        if fullname not in self._callbacks or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        except (ImportError, ValueError):  # the program's own import will raise the same, with its own traceback
            return None
        finally:
            self._asking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Reporting(spec.loader, self._loaded)
        return spec

    def _loaded(self, module: ModuleType) -> None:
        callback = self._callbacks.pop(module.__name__, None)
        if callback is not None:
            callback(module)


class _Reporting(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, report: Callback) -> None:
        self._loader, self._report = loader, report

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module must see its own loader: some look at it while they are loaded.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._report(module)
