"""A model's path to an engine that runs it, and to its identity."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epi_surgery.errors import SurgeryError
from epi_surgery.evaluate.engine import Engine, Limits
from epi_surgery.evaluate.llama_engine import LlamaEngine
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import default_cache
from epi_surgery.plan import ModelId, model_id
from epi_surgery.progress import bar

ENGINES = ("llama", "torch")


def default_engine(model: Path) -> str:
    """llama.cpp for a GGUF, PyTorch for a folder."""
    return "torch" if model.is_dir() else "llama"


@contextmanager
def opened(model: Path, engine: str, dtype: str, limits: Limits) -> Iterator[Engine]:
    """The engine with the model loaded; closed at the end."""
    found = _torch(model, dtype, limits) if engine == "torch" else _llama(model, limits)
    try:
        yield found
    finally:
        found.close()


def identity(model: Path) -> ModelId:
    """Name, hash and size of a GGUF or of a folder."""
    if model.is_dir():
        from epi_surgery.model.source import find_source, identify, n_bytes_of

        source = find_source(model)
        with bar("hashing the model", n_bytes_of(source)) as advance:
            return identify(source, default_cache(), advance)
    with GgufFile(model) as file, bar("hashing the model", file.n_bytes) as advance:
        return model_id(file, default_cache(), advance)


def _llama(model: Path, limits: Limits) -> Engine:
    if model.is_dir():
        raise SurgeryError(f"{model}: a folder runs in PyTorch (--engine torch); llama.cpp takes a GGUF file")
    GgufFile(model).__exit__(None, None, None)  # a damaged file is refused in our words, not the engine's
    return LlamaEngine(model, limits)


def _torch(model: Path, dtype: str, limits: Limits) -> Engine:
    from epi_surgery.evaluate.torch_engine import TorchEngine
    from epi_surgery.model.load import DTYPES, load
    from epi_surgery.model.source import Source
    from epi_surgery.model.tokens import tokenizer_of
    from epi_surgery.torch_cut.checkpoint import is_checkpoint
    from epi_surgery.torch_cut.checkpoint import load as load_checkpoint

    if is_checkpoint(model):
        return TorchEngine(load_checkpoint(model, DTYPES[dtype]), tokenizer_of(Source(model, {})), limits)
    loaded = load(model, DTYPES[dtype])
    return TorchEngine(loaded.model, tokenizer_of(loaded.source), limits)
