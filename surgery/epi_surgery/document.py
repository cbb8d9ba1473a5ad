"""Our own JSON documents, plans and scores: read whole, format and version checked, every refusal with the file's name."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from epi_surgery.errors import SurgeryError
from epi_surgery.plan import ModelId

_MAX_BYTES = 16 << 20
_HEX = set("0123456789abcdef")
Content = TypeVar("Content")


@dataclass(frozen=True)
class Kind:
    """What people call it, its `format` and the `version` read here, and the error that a bad one raises."""

    noun: str
    format: str
    version: int
    refusal: type[SurgeryError]


def read(path: Path, kind: Kind, parse: Callable[[str], Content]) -> Content:
    """Parse a file's text; raises the kind's error with the file's name in front, SurgeryError where it cannot be read."""
    try:
        text = path.read_bytes()[:_MAX_BYTES].decode("utf-8")
    except OSError as error:
        raise SurgeryError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeDecodeError as error:
        raise kind.refusal(f"{path}: not a {kind.noun}: it is not text") from error
    try:
        return parse(text)
    except SurgeryError as error:
        raise kind.refusal(f"{path}: {error}") from error


def body_of(text: str, kind: Kind) -> dict[str, Any]:
    """The JSON object in a text, of this kind and version; raises the kind's error."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise kind.refusal(f"not a {kind.noun}: no valid JSON ({error})") from error
    if not isinstance(body, dict) or body.get("format") != kind.format:
        raise kind.refusal(f"not a {kind.noun}: its format is not '{kind.format}'")
    if body.get("version") != kind.version:
        raise kind.refusal(
            f"{kind.noun} version {body.get('version')} cannot be read here (this is version {kind.version}); upgrade epi-surgery"
        )
    return body


def model_of(body: dict[str, Any], kind: Kind) -> ModelId:
    """The model that a document is about; raises the kind's error naming the field that is wrong."""
    model = body.get("model")
    if not isinstance(model, dict):
        raise kind.refusal("the section 'model' is missing")
    name, sha256, n_bytes = model.get("name"), model.get("sha256"), model.get("n_bytes")
    if not isinstance(name, str) or not name:
        raise kind.refusal("'name' of the model is missing or not text")
    if not isinstance(sha256, str) or len(sha256) != 64 or not set(sha256) <= _HEX:
        raise kind.refusal("'sha256' is not a hash of 64 hexadecimal digits")
    if not isinstance(n_bytes, int) or isinstance(n_bytes, bool) or n_bytes < 0:
        raise kind.refusal("'n_bytes' is missing or not a whole number")
    return ModelId(name, sha256, n_bytes)
