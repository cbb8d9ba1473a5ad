"""What a GGUF file says of the model in it, and whether the engine can be trusted with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import HookrunError
from ..gguf_header import GgufHeader, read_header
from .provenance import Provenance, provenance

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Model:
    """A transformer decoder in a GGUF file. Heads are counted per layer; `sha256` is of the whole file."""

    file: str
    name: str
    sha256: str
    file_bytes: int
    architecture: str
    quantisation: str
    n_layer: int
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    n_embd: int
    n_ff: tuple[int, ...]
    n_ctx_train: int
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def without_attention(self) -> frozenset[int]:
        """Return the layers that hold a feed-forward half only."""
        return frozenset(layer for layer, heads in enumerate(self.n_head) if heads == 0)

    def to_map(self) -> dict[str, Any]:
        """Return it as plain values for a message."""
        shape = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "provenance"}
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in shape.items()
        } | self.provenance.to_map()


def open_model(
    path: Path, progress: Callable[[int, int], None] = lambda _done, _total: None, *, most_hashed_bytes: int | None = None
) -> Model:
    """Read a model's header, check its shapes and hash the file; `progress(bytes done, bytes in all)` is called as it goes.

    A file of more than `most_hashed_bytes` is not hashed: its `sha256` is empty.
    """
    header = read_header(path)
    shape = _Shape(header, path)
    shape.check()
    size = path.stat().st_size
    sha256 = _sha256(path, size, progress) if most_hashed_bytes is None or size <= most_hashed_bytes else ""
    return Model(
        file=path.name,
        name=str(header.metadata.get("general.name") or path.stem),
        sha256=sha256,
        file_bytes=size,
        architecture=shape.architecture,
        quantisation=header.quantisation(),
        n_layer=shape.n_layer,
        n_head=shape.per_layer("attention.head_count"),
        n_head_kv=shape.per_layer("attention.head_count_kv", "attention.head_count"),
        n_embd=shape.number("embedding_length"),
        n_ff=shape.per_layer("feed_forward_length", "expert_feed_forward_length"),
        n_ctx_train=shape.number("context_length"),
        provenance=provenance(path, header, sha256),
    )


class _Shape:
    def __init__(self, header: GgufHeader, path: Path) -> None:
        self._metadata, self._path = header.metadata, path
        self.architecture = str(header.metadata.get("general.architecture", "unknown"))
        self.n_layer = self.number("block_count")

    def check(self) -> None:
        """Refuse what is not a decoder, and head counts on which llama.cpp ends the process instead of reporting."""
        if self._metadata.get(f"{self.architecture}.attention.causal") is False:
            raise HookrunError(f"{self._path} holds a model of architecture {self.architecture!r}, which generates no text")
        heads = self.per_layer("attention.head_count")
        heads_kv = self.per_layer("attention.head_count_kv", "attention.head_count")
        for layer, (n_head, n_head_kv) in enumerate(zip(heads, heads_kv, strict=True)):
            if n_head_kv and n_head % n_head_kv:
                raise HookrunError(
                    f"{self._path}: layer {layer} has {n_head} query heads for {n_head_kv} key/value heads, which do not divide; "
                    "cut the same number of query heads from each group"
                )

    def number(self, key: str) -> int:
        value = self._value(key)
        if not isinstance(value, int) or value < 1:
            raise HookrunError(f"{self._path}: {self.architecture}.{key} is {value!r}, expected a whole number above 0")
        return value

    def per_layer(self, key: str, default_key: str | None = None) -> tuple[int, ...]:
        """Return one number per layer, whether the file gives one for all of them or a list."""
        value = self._value(key, default_key)
        values = value if isinstance(value, tuple) else (value,) * self.n_layer
        numbers = tuple(number for number in values if isinstance(number, int) and number >= 0)
        if len(numbers) != self.n_layer:
            raise HookrunError(f"{self._path}: {self.architecture}.{key} does not give a count for each of {self.n_layer} layers")
        return numbers

    def _value(self, key: str, default_key: str | None = None) -> object:
        for name in (key, default_key):
            if name is not None and f"{self.architecture}.{name}" in self._metadata:
                return self._metadata[f"{self.architecture}.{name}"]
        raise HookrunError(
            f"{self._path} holds a model of architecture {self.architecture!r} without {key!r}; "
            "`hookrun llama` runs transformer decoders of the Llama kind"
        )


def _sha256(path: Path, size: int, progress: Callable[[int, int], None]) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done, size)
    return digest.hexdigest()
