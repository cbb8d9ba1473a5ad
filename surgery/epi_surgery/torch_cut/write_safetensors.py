"""Write a safetensors file from tensors that come one at a time: only one of them stands in memory.

The header comes first in the file and is known last; room for it is left, and what it does not need is filled with spaces,
as the format allows.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from epi_surgery.errors import SurgeryError

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_safetensors(path: Path, tensors: Iterable[tuple[str, Tensor]], header_bytes: int = 1 << 20) -> int:
    """Write all tensors; returns the file's size. `header_bytes` is the room for names and shapes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    with path.open("wb") as file:
        file.seek(8 + header_bytes)
        for name, tensor in tensors:
            data = tensor.detach().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            end = offset + len(data)
            entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
            file.write(data)
            offset = end
        header = json.dumps(entries).encode()
        if len(header) > header_bytes:
            raise SurgeryError(
                f"{path}: {len(entries)} tensors need a header of {len(header):,} bytes; {header_bytes:,} were left"
            )
        file.seek(0)
        file.write(struct.pack("<Q", header_bytes) + header.ljust(header_bytes))
    return 8 + header_bytes + offset
