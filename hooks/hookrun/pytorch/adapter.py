"""PyTorch as the program has imported it, with its models followed from their first call on."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any, Self

from ..program.patches import Patches
from ..program.recorder import Opener
from ..program.spec import ProgramSpec
from ..sending.ring import SpanRing
from .anatomy import Decoder, find_decoder
from .calls import Call, model_call
from .clocks import Clock, DeviceClock, HostClock
from .discovery import Discovery
from .inputs import Inputs, read_inputs
from .metadata import engine_version, model_map, model_name, torch_settings
from .overhead_check import BLOCK, PAIRS, OverheadCheck
from .repeater import Repeater
from .repetition import SHARE, Draw
from .surface import Surface
from .tracer import Tracer

_COMPILED = (
    "this model runs inside compiled code (torch.compile or a CUDA graph), where Python sees no layers: its tokens are recorded "
    "without layers"
)
_OVERLAP = (
    "two threads are inside this model at once: what the second one computes is not recorded, and the first one's layers are not "
    "told apart"
)


class TorchAdapter:
    """At most one model is followed; `detach` puts every class back."""

    def __init__(self, torch: ModuleType, recorder: Opener, spec: ProgramSpec) -> None:
        self._torch, self._recorder, self._spec = torch, recorder, spec
        self._tracer: Tracer | None = None
        self._check = OverheadCheck() if spec.overhead_check else None
        self._met: dict[int, tuple[weakref.ref[Any], Tracer | None]] = {}
        self._surface = Surface.of(torch)
        self._discovery = Discovery(self._surface, self._find, self._model_call)

    @classmethod
    def attach(cls, torch: ModuleType, recorder: Opener, spec: ProgramSpec) -> Self:
        """Look for models from now on."""
        return cls(torch, recorder, spec)

    def flush(self) -> None:
        """Write what is still held back."""
        if self._tracer is not None:
            self._tracer.close()
        if self._check is not None and self._tracer is not None:
            self._recorder.voice.tell(self._check.sentence())

    def detach(self) -> None:
        """Put every class back."""
        self._recorder.generation.tell(None)
        if self._tracer is not None:
            self._tracer.release()
        self._discovery.detach()
        self._tracer = None
        self._met.clear()

    def suspend(self) -> None:
        """Put every class back for a while, without forgetting the model."""
        for patches in self._patches():
            patches.suspend()

    def resume(self) -> None:
        """Go on after `suspend`."""
        for patches in reversed(self._patches()):
            patches.resume()

    def _patches(self) -> list[Patches]:
        """Those that were made last come first."""
        return [*([self._tracer.patches] if self._tracer is not None else []), self._discovery.patches]

    def _find(self, module: Any) -> Decoder | None:
        return find_decoder(module, self._surface.lists)

    def _model_call(self, original: Call) -> Call:
        return model_call(original, self._enter, self._surface.compiling)

    def _enter(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tracer | None:
        """A model is called: return what follows this computation, or None."""
        inputs = read_inputs(args, kwargs)
        if inputs is None:
            return None
        met = self._met.get(id(module))
        if met is None or met[0]() is not module:
            met = self._acquainted(module, inputs)
        tracer = met[1]
        if tracer is None:
            return None
        if tracer.stale:
            decoder = self._find(module)
            if decoder is None:
                return None
            tracer.learn(decoder)
        return tracer.begin(inputs)

    def _acquainted(self, module: Any, inputs: Inputs) -> tuple[weakref.ref[Any], Tracer | None]:
        """Return what is known of a module that this thread has not met, though another one may have meanwhile."""
        with self._recorder.meeting:
            met = self._met.get(id(module))
            if met is None or met[0]() is not module:
                met = self._met[id(module)] = (weakref.ref(module), self._meet(module, inputs))
            return met

    def _meet(self, module: Any, inputs: Inputs) -> Tracer | None:
        decoder = self._find(module)
        voice = self._recorder.voice
        if decoder is None:
            return None
        if self._tracer is not None and self._tracer.knows(decoder):
            return self._tracer
        if inputs.device is not None and inputs.device.type == "meta":
            voice.warn("a model on the meta device is called, where nothing is computed; it is left out")
            return None
        ring = self._recorder.open(
            engine_version(self._torch), model_name(module), lambda: (self._settings(inputs), model_map(module, decoder))
        )
        if ring is None:
            return None
        self._tracer = self._made(decoder, ring, inputs)
        self._recorder.generation.tell(self._tracer)
        return self._tracer

    def _made(self, decoder: Decoder, ring: SpanRing, inputs: Inputs) -> Tracer:
        spec, voice = self._spec, self._recorder.voice
        repetition = spec.repetition
        tracer = Tracer(
            decoder,
            ring,
            self._clock(inputs.device),
            self._surface,
            halves=spec.detail == "halves",
            original=self._discovery.original,
            draw=None if repetition is None else Draw(repetition.seed, len(decoder), halves=repetition.halves),
            check=self._check,
            on_unseen=lambda: voice.warn(_COMPILED),
            on_overlap=lambda: voice.warn(_OVERLAP),
        )
        if repetition is not None:
            tracer.live.repeat = Repeater(tracer.live, repetition.times, voice.warn, halves=repetition.halves)
        return tracer

    def _clock(self, device: Any) -> Clock:
        """The device's own clock where it has one that torch can read."""
        if device is None or device.type == "cpu":
            return HostClock()
        module = self._torch.get_device_module(device)
        if hasattr(module, "Event"):
            return DeviceClock(module)
        self._recorder.voice.warn(f"{device.type} gives no times of its own: spans are those of the calls, not of the device")
        return HostClock()

    def _settings(self, inputs: Inputs) -> dict[str, Any]:
        spec = self._spec
        settings = torch_settings(self._torch, inputs) | {"detail": spec.detail}
        if spec.repetition is not None:
            name = "repeat_halves" if spec.repetition.halves else "repeat_layers"
            settings[name] = {"seed": spec.repetition.seed, "times": spec.repetition.times, "share": SHARE}
        if self._check is not None:
            settings["overhead_check"] = {"block": BLOCK, "pairs": PAIRS}
        return settings
