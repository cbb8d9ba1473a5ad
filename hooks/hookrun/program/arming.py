"""Inside the program, before its first line: wait for an engine to be imported, and for the end."""

from __future__ import annotations

import os
from types import ModuleType

from .exits import Exits
from .import_watch import Callback, ImportWatch
from .ledger import Ledger
from .recorder import Recorder
from .spec import VARIABLE, ProgramSpec
from .voice import Voice


def arm() -> None:
    """Take the orders out of the environment, restore it, and let the adapters wait for their engines."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return
    spec = ProgramSpec.from_json(text)
    if not spec.children:
        _forget_orders(spec)
    recorder = Recorder(spec, Ledger.of(spec), Voice(quiet=spec.quiet))
    watch = ImportWatch(_adapters(recorder, spec))
    Exits(recorder, watch).install()
    watch.install()


def _forget_orders(spec: ProgramSpec) -> None:
    """What the program starts in its turn runs as if we had never been here."""
    os.environ.pop(VARIABLE, None)
    if spec.pythonpath is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = spec.pythonpath


def _adapters(recorder: Recorder, spec: ProgramSpec) -> dict[str, Callback]:
    """Each adapter is loaded only once its engine has been, by the program."""

    def on_torch(torch: ModuleType) -> None:
        from ..pytorch.adapter import TorchAdapter

        recorder.adopt(TorchAdapter.attach(torch, recorder, spec))

    def on_generation(generation: ModuleType) -> None:
        from ..pytorch.generation import watch_generate

        recorder.adopt(watch_generate(generation.GenerationMixin, recorder))

    def on_llama_cpp(llama_cpp: ModuleType) -> None:
        from ..llama_python.adapter import LlamaAdapter

        recorder.adopt(LlamaAdapter.attach(llama_cpp, recorder, spec))

    return {"torch": on_torch, "transformers.generation.utils": on_generation, "llama_cpp": on_llama_cpp}
