"""A Hugging Face folder seen like a GGUF: its tensors under GGUF's names, and their bytes as if all files were one.

model.layers.3.self_attn.q_proj.weight  ->  blk.3.attn_q.weight      shape reversed: row length first
"""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gguf import GGMLQuantizationType

from epi_surgery.architecture import Architecture
from epi_surgery.errors import UnsupportedModel
from epi_surgery.gguf_file import CHUNK_BYTES
from epi_surgery.tensor import Tensor

_TYPES = {"F32": GGMLQuantizationType.F32, "F16": GGMLQuantizationType.F16, "BF16": GGMLQuantizationType.BF16}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class WeightFolder:
    """The safetensors of a folder; a context manager. Offsets of tensors run on from file to file."""

    def __init__(self, path: Path) -> None:
        from epi_surgery.model.safetensors_header import weight_files
        from epi_surgery.model.source import find_source

        self.path = path
        self.config: dict[str, Any] = find_source(path).config or {}
        self.files = weight_files(path)
        self._starts: list[int] = []
        self.tensors: dict[str, Tensor] = {}
        self.n_bytes = 0
        for file in self.files:
            self._starts.append(self.n_bytes)
            self._list(file, self.n_bytes)
            self.n_bytes += file.stat().st_size
        self._open = [file.open("rb") for file in self.files]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._open:
            file.close()

    def span(self, offset: int, n_bytes: int) -> bytes:
        """The bytes [offset, offset + n_bytes), which lie within one file."""
        index = self._index(offset)
        data = os.pread(self._open[index].fileno(), n_bytes, offset - self._starts[index])
        if len(data) != n_bytes:
            raise UnsupportedModel(f"{self.files[index]}: the file became shorter while it was being read")
        return data

    def stands_at(self, tensor: Tensor) -> tuple[int, int]:
        """Descriptor of the file that holds the tensor, and its offset in that file."""
        index = self._index(tensor.offset)
        return self._open[index].fileno(), tensor.offset - self._starts[index]

    def chunks(self, tensor: Tensor) -> Iterator[bytes]:
        """All bytes of a tensor, in chunks of whole rows of about 8 MiB."""
        step = max(1, CHUNK_BYTES // tensor.row_bytes)
        for row in range(0, tensor.n_rows, step):
            yield self.span(tensor.offset + row * tensor.row_bytes, min(step, tensor.n_rows - row) * tensor.row_bytes)

    def architecture(self) -> Architecture:
        """The numbers of the configuration; `name` is the family's."""
        config = self.config
        n_layer, n_head, n_embd = (int(config[key]) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
        n_kv = int(config.get("num_key_value_heads") or n_head)
        width = int(config.get("head_dim") or n_embd // n_head)
        layers = [(n_head,) * n_layer, (n_kv,) * n_layer, (int(config["intermediate_size"]),) * n_layer]
        return Architecture(str(config["model_type"]), n_layer, n_embd, int(config["vocab_size"]), width, width, *layers)

    def _index(self, offset: int) -> int:
        return max(i for i, start in enumerate(self._starts) if start <= offset)

    def _list(self, file: Path, start: int) -> None:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _TYPES:
                raise UnsupportedModel(
                    f"{file}: tensor {name} is stored as {entry['dtype']}; these can be cut: {', '.join(_TYPES)}"
                )
            found = gguf_name(name)
            shape = tuple(reversed(entry["shape"]))
            self.tensors[found] = Tensor(found, _TYPES[entry["dtype"]], shape, start + 8 + size + entry["data_offsets"][0])


def gguf_name(name: str) -> str:
    """GGUF's name for a tensor of a Llama-shaped model; raises UnsupportedModel for a foreign one."""
    module, _, leaf = name.rpartition(".")
    if module in _TOP:
        return f"{_TOP[module]}.{leaf}"
    head, _, rest = module.removeprefix("model.layers.").partition(".")
    if not module.startswith("model.layers.") or not head.isdigit() or rest not in _PARTS:
        raise UnsupportedModel(f"tensor {name}: not a part of a Llama-shaped model")
    return f"blk.{head}.{_PARTS[rest]}.{leaf}"
