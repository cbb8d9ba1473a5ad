"""Models larger than the device: layers wait in memory or on disk and come to the device when they are computed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import offload_weight, save_offload_index
from torch import Tensor
from transformers import PreTrainedModel

from epi_surgery.errors import SurgeryError


@dataclass(frozen=True)
class Offload:
    """How much of the model each place may hold, in bytes: `device` (computes), main memory; the rest goes to `folder`.

    `device` is `cpu`, then `memory_bytes` does not count, or the number of an accelerator.
    """

    folder: Path
    device: int | str
    device_bytes: int
    memory_bytes: int = 0

    def arguments(self) -> dict[str, Any]:
        """What transformers' `from_pretrained` takes."""
        return {"device_map": "auto", "max_memory": self.budget(), "offload_folder": str(self.folder)}

    def budget(self) -> dict[int | str, int]:
        """Bytes per place, in accelerate's words."""
        if self.device == "cpu":
            return {"cpu": self.device_bytes}
        return {self.device: self.device_bytes, "cpu": self.memory_bytes}


class Spreading:
    """Sends each weight to its place as it is read, so that the model never stands whole in memory."""

    def __init__(self, model: PreTrainedModel, offload: Offload) -> None:
        self._model, self._offload = model, offload
        layer = type(next(iter(model.model.layers))).__name__
        self._places = infer_auto_device_map(model, offload.budget(), no_split_module_classes=[layer])
        self._index: dict[str, Any] = {}

    def store(self, name: str, values: Tensor) -> Tensor:
        """What the model is to hold for this weight: the values on their device, or only their shape."""
        place = next((self._places[part] for part in _parents(name) if part in self._places), self._offload.device)
        if place != "disk":
            return values.to(place)
        self._index = offload_weight(values, name, str(self._offload.folder), self._index)
        return values.to("meta")

    def finish(self) -> PreTrainedModel:
        """The model with hooks that bring each layer's weights to the device and let go of them again."""
        save_offload_index(self._index, str(self._offload.folder))
        if set(self._places.values()) == {self._offload.device}:
            return self._model
        return dispatch_model(
            self._model, self._places, offload_dir=str(self._offload.folder), main_device=self._offload.device, force_hooks=True
        )


def in_memory(_: str, values: Tensor) -> Tensor:
    """Every weight stays as it was read."""
    return values


Store = Callable[[str, Tensor], Tensor]


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), -1, -1)]


def check_offload(offload: Offload) -> None:
    """Raise SurgeryError where the folder or the device does not exist."""
    if not offload.folder.is_dir():
        raise SurgeryError(f"{offload.folder}: no such folder; create it first, with room for the whole model")
    found = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if offload.device != "cpu" and int(offload.device) >= found:
        raise SurgeryError(f"there is no accelerator {offload.device} here (found: {found}); use --device cpu")
