"""What can be healed: a GGUF or a PyTorch folder that epi-surgery cut, opened, loaded, and written again with new weights."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from epi_surgery.errors import SurgeryError
from epi_surgery.gguf_file import GgufFile
from epi_surgery.heal.closed_form import ATTENTION
from epi_surgery.heal.written import write_healed
from epi_surgery.model.attention import decoder_layers
from epi_surgery.model.load import Loaded, load
from epi_surgery.model.source import Source
from epi_surgery.output import final_folder, final_name
from epi_surgery.plan_file import read_plan
from epi_surgery.progress import Bar
from epi_surgery.torch_cut.checkpoint import CONFIG, PLAN, WEIGHTS, is_checkpoint
from epi_surgery.torch_cut.checkpoint import load as load_checkpoint
from epi_surgery.torch_cut.write_safetensors import write_safetensors


class Patient(Protocol):
    """A cut model on disk. `parent` is the sha256 of what it was cut from; empty where it does not say."""

    parent: str

    def load(self, path: Path, bar: Bar) -> Loaded: ...
    def place(self, out: Path) -> AbstractContextManager[Path]: ...
    def write(self, part: Path, changed: Mapping[str, Tensor], record: Mapping[str, Any], bar: Bar) -> tuple[str, ...]: ...


@contextmanager
def open_patient(path: Path) -> Iterator[Patient]:
    """Open a cut model for healing; raises SurgeryError for anything else."""
    if path.is_dir():
        yield _Folder(path)
        return
    with GgufFile(path) as opened:
        yield _Gguf(opened)


class _Gguf:
    def __init__(self, opened: GgufFile) -> None:
        self._opened, self.parent = opened, opened.text("epi.parent_sha256")

    def load(self, path: Path, bar: Bar) -> Loaded:
        return load(path, progress=bar)

    def place(self, out: Path) -> AbstractContextManager[Path]:
        return final_name(out)

    def write(self, part: Path, changed: Mapping[str, Tensor], record: Mapping[str, Any], bar: Bar) -> tuple[str, ...]:
        return tuple(recipe.name for recipe in write_healed(part, self._opened, changed, record, bar))


class _Folder:
    def __init__(self, path: Path) -> None:
        if not is_checkpoint(path):
            raise SurgeryError(f"{path}: not a folder that epi-surgery cut; heal takes such a folder or a cut GGUF")
        self._path, self.parent = path, read_plan(path / PLAN).model.sha256
        self._orders: dict[str, list[int]] = {}

    def load(self, path: Path, bar: Bar) -> Loaded:
        with bar("loading the model", 1) as advance:
            model = load_checkpoint(path, torch.float32)
            advance(1)
        for index, layer in enumerate(decoder_layers(model)):
            if hasattr(layer.self_attn, "places"):
                self._orders[f"model.layers.{index}.{ATTENTION}.weight"] = list(layer.self_attn.places.query)
        return Loaded(Source(path, {}), model, (), torch.device("cpu"))

    def place(self, out: Path) -> AbstractContextManager[Path]:
        return final_folder(out)

    def write(self, part: Path, changed: Mapping[str, Tensor], record: Mapping[str, Any], bar: Bar) -> tuple[str, ...]:
        for file in self._path.iterdir():
            if file.name not in (WEIGHTS, CONFIG):
                shutil.copyfile(file, part / file.name)
        config = json.loads((self._path / CONFIG).read_text(encoding="utf-8"))
        (part / CONFIG).write_text(json.dumps(config | {"epi_healing": record}, indent=1) + "\n", encoding="utf-8")
        with safe_open(self._path / WEIGHTS, framework="pt") as stored:
            names = list(stored.keys())
            with bar("writing the model", len(names)) as advance:
                tensors = ((name, self._healed(name, stored.get_tensor(name), changed, advance)) for name in names)
                write_safetensors(part / WEIGHTS, tensors)
        return ()

    def _healed(self, name: str, stored: Tensor, changed: Mapping[str, Tensor], advance: Any) -> Tensor:
        advance(1)
        if name not in changed:
            return stored
        healed = changed[name]
        if name in self._orders:
            # The module keeps the heads' columns in an order of its own.
            order = self._orders[name]
            width = healed.shape[1] // len(order)
            by_head = healed.unflatten(1, (-1, width))
            healed = torch.empty_like(by_head).index_copy_(1, torch.tensor(order), by_head).flatten(1)
        return healed.to(stored.dtype)
