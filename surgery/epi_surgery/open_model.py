"""A model's path to something that can be planned and cut: a GGUF file or a Hugging Face folder."""

from contextlib import AbstractContextManager
from pathlib import Path

from epi_surgery.architecture import Architecture, architecture_of
from epi_surgery.gguf_file import GgufFile
from epi_surgery.plan import ModelId, model_id
from epi_surgery.progress import Bar
from epi_surgery.weight_folder import WeightFolder

Model = GgufFile | WeightFolder


def open_model(path: Path) -> AbstractContextManager[Model]:
    """Open it; raises SurgeryError for what is neither."""
    return WeightFolder(path) if path.is_dir() else GgufFile(path)


def numbers_of(model: Model) -> Architecture:
    """The model's architecture, checked."""
    return model.architecture() if isinstance(model, WeightFolder) else architecture_of(model)


def identify_model(model: Model, cache: Path | None, bar: Bar) -> ModelId:
    """Name, hash and size."""
    with bar("hashing the model", model.n_bytes) as advance:
        if isinstance(model, GgufFile):
            return model_id(model, cache, advance)
        from epi_surgery.model.source import find_source, identify

        return identify(find_source(model.path), cache, advance)
