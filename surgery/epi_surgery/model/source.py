"""What stands at a model's path: a GGUF, or a Hugging Face folder with safetensors. Looked at without torch."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epi_surgery.errors import SurgeryError, UnsupportedModel
from epi_surgery.gguf_file import GgufFile
from epi_surgery.hashing import file_sha256
from epi_surgery.model.safetensors_header import check_shards, refuse_foreign_weights, weight_files
from epi_surgery.plan import ModelId, model_id

# Model types of transformers whose attention is separate q, k, v and o projections under model.layers.N.self_attn.
FOLDER_TYPES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")


@dataclass(frozen=True)
class Source:
    """A model on disk; `config` is the folder's config.json, or None for a GGUF."""

    path: Path
    config: dict[str, Any] | None

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.config is None


def find_source(path: Path) -> Source:
    """Look at the path; raises SurgeryError where there is no model, UnsupportedModel naming the tensor in the way."""
    if not path.exists():
        raise SurgeryError(f"{path}: no such file or folder")
    if path.is_file():
        return Source(path, None)
    config = _config(path / "config.json")
    kind = config.get("model_type")
    if kind not in FOLDER_TYPES:
        refuse_foreign_weights(path)
        raise UnsupportedModel(f"{path}: model type '{kind}' is not supported; these are: {', '.join(FOLDER_TYPES)}")
    if config.get("quantization_config"):
        raise UnsupportedModel(f"{path}: the weights are quantised by another tool; give the original folder or a GGUF")
    check_shards(path)
    return Source(path, config)


def identify(source: Source, cache: Path | None, advance: Callable[[int], None]) -> ModelId:
    """Name, sha256 and size. A folder's hash is that of the lines `sha256  name` of its configuration and weight files."""
    if source.is_gguf:
        with GgufFile(source.path) as model:
            return model_id(model, cache, advance)
    files = [source.path / "config.json", *weight_files(source.path)]
    lines = [f"{file_sha256(file, cache, advance)}  {file.name}\n" for file in files]
    name = str((source.config or {}).get("_name_or_path") or source.path.resolve().name)
    n_bytes = sum(file.stat().st_size for file in files)
    return ModelId(name, hashlib.sha256("".join(lines).encode()).hexdigest(), n_bytes)


def n_bytes_of(source: Source) -> int:
    """Bytes that `identify` reads."""
    if source.is_gguf:
        return source.path.stat().st_size
    return sum(file.stat().st_size for file in [source.path / "config.json", *weight_files(source.path)])


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SurgeryError(f"{path.parent}: no config.json there; give a GGUF file or a Hugging Face model folder")
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise SurgeryError(f"{path}: no valid JSON ({error})") from error
    if not isinstance(body, dict):
        raise SurgeryError(f"{path}: not a JSON object")
    return body
