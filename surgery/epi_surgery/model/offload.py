"""Models larger than the device: layers wait in memory or on disk and come to the device when they are computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import dispatch_model, infer_auto_device_map
from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Offload:
    """How much of the model each place may hold, in bytes: `device` (computes), `memory`; the rest goes to `folder`.

    `device` names the computing device: `cpu`, or the number of an accelerator.
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


def offload_gguf(model: PreTrainedModel, offload: Offload) -> PreTrainedModel:
    """Spread a model that stands in memory; whole decoder layers stay together."""
    places = infer_auto_device_map(model, offload.budget(), no_split_module_classes=_layer_classes(model))
    return dispatch_model(model, places, offload_dir=str(offload.folder), main_device=offload.device)


def _layer_classes(model: nn.Module) -> list[str]:
    return [type(model.model.layers[0]).__name__]  # type: ignore[index,union-attr]
